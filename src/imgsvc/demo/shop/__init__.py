"""The demo's shop: its goods, drawn and photographed."""
