"""Graphics of the demo's shop: flat colours and text, as PNG and thumbnails hold them."""

from PIL import Image, ImageDraw, ImageFont

INK, PAPER, CORAL, SAND = "#24384a", "#fbf6ec", "#e4694f", "#f0c9a0"
HILLS = (("#f3cfae", 0.52, 0.30), ("#e0a899", 0.66, 0.46), ("#b77f8b", 0.80, 0.30), ("#7f6285", 0.92, 0.52))


def gift_card(width: int) -> Image.Image:
    """RGB, drawn at twice the size."""
    size = (width * 2, width * 5 // 8 * 2)
    image = Image.new("RGB", size, PAPER)
    pen = ImageDraw.Draw(image)
    unit = size[0] / 100
    pen.ellipse((60 * unit, 8 * unit, 78 * unit, 26 * unit), fill=CORAL)
    for colour, top, middle in HILLS:
        peak, foot = size[1] * top - 12 * unit, size[1]
        pen.polygon(
            [(0, foot), (0, peak + 14 * unit), (size[0] * middle, peak), (size[0], peak + 20 * unit), (size[0], foot)],
            fill=colour,
        )
    for text, x, y, height in (("Gift card", 7, 7, 9.5), ("for something nice", 7.4, 19, 4), ("500 kr", 74, 50, 8)):
        font = ImageFont.load_default(size=height * unit)
        pen.text((x * unit, y * unit), text, fill=PAPER if y > 40 else INK, font=font)
    return image.reduce(2)


def badge(side: int) -> Image.Image:
    """The shop's sign on nothing, RGBA."""
    image = Image.new("RGBA", (side * 2, side * 2))
    pen = ImageDraw.Draw(image)
    pen.ellipse((4, 4, side * 2 - 4, side * 2 - 4), fill=INK)
    pen.ellipse((side * 0.12, side * 0.12, side * 1.88, side * 1.88), outline=SAND, width=side // 40)
    for text, y, height in (("fjell", 0.86, 0.62), ("GOODS", 1.32, 0.2)):
        font = ImageFont.load_default(size=side * height)
        pen.text((side, side * y), text, fill=PAPER, font=font, anchor="mm")
    return image.reduce(2)
