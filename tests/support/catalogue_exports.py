# ruff: noqa: E501  # lines of the files
"""Exports as shops write them: a few rows each, with the columns, quotes, line ends and encodings of their system."""

import re
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Export:
    """One system's file; `{base}` in its text is the origin of its images."""

    preset: str
    serial_number: str | None
    product_name: str
    image_urls: list[str]
    text: str = field(repr=False)
    line_end: str = "\n"
    encoding: str = "utf-8"

    def data(self, base: str) -> bytes:
        text = self.text.replace("{base}", base).replace("\n", self.line_end)
        return text.encode(self.encoding)

    def urls(self, base: str) -> list[str]:
        """Return the distinct image URLs in the order of rows and columns, which is that of the text."""
        urls = re.findall(r"https?://[^\s,;|\"]+\.jpg", self.text.replace("{base}", base))
        return list(dict.fromkeys(urls))


EXPORTS = {
    "shopify": Export(
        "shopify",
        "Handle",
        "Title",
        ["Image Src", "Variant Image"],
        """\
Handle,Title,Body (HTML),Vendor,Tags,Published,Option1 Name,Option1 Value,Variant Price,Image Src,Image Position,Variant Image,Status
blue-mug,Blue mug,"<p>Holds 0.3 l, ""dishwasher safe""</p>
<p>Second line</p>",Hill & Co.,"mugs, blue",true,Size,Small,9.90,{base}/a.jpg,1,{base}/b.jpg,active
blue-mug,"","","","",,,Large,12.90,{base}/b.jpg,2,{base}/a.jpg,
blue-mug,"","","","",,,,,{base}/c.jpg,3,,
print,Größe M,,Hill & Co.,,true,Title,Default Title,19.00,,,,draft
""",
    ),
    "woocommerce": Export(
        "woocommerce",
        "ID",
        "Name",
        ["Images"],
        """\
ID,Type,SKU,"GTIN, UPC, EAN, or ISBN",Name,Published,"Is featured?","Short description","Regular price",Images,"Swatches Attributes"
44,simple,woo-mug,,"Coffee mug",1,0,"<p>Very \\"\\" good.</p>",18,"{base}/a.jpg, {base}/b.jpg, {base}/a.jpg",
45,variation,woo-mug-l,4006381333931,"Large mug",1,0,,21.5,{base}/c.jpg,
46,simple,woo-cup,,Cup,-1,1,"Two
lines",3,,
""",
        encoding="utf-8-sig",
    ),
    "magento": Export(
        "magento",
        "sku",
        "name",
        ["base_image", "small_image", "thumbnail_image", "additional_images"],
        """\
sku,store_view_code,name,description,base_image,base_image_label,small_image,thumbnail_image,additional_images,additional_image_labels
24-MB01,,"Joust Bag","<p>Bags, and more.</p>",{base}/a.jpg,Front,{base}/a.jpg,{base}/b.jpg,"{base}/a.jpg,{base}/c.jpg","Front,Back"
24-MB01,de,Tasche,,,,,,,
24-MB04,,Strap,,/m/b/mb04-black-0.jpeg,,no_selection,/m/b/mb04-black-0.jpeg,"/m/b/x.jpeg,{base}/d.jpg",
""",
    ),
    "prestashop": Export(
        "prestashop",
        "Product ID",
        "Name *",
        ["Image URLs (x,y,z...)"],
        '''\
"Product ID";"Active (0/1)";"Name *";"Categories (x,y,z...)";"Price tax excluded";"Image URLs (x,y,z...)";"Image alt texts (x,y,z...)"
"1";"1";"Tasse bleue – été";"Home,Mugs";"9,90";"{base}/a.jpg,{base}/b.jpg";"front,back"
"2";"0";"Cadre ""Alpes""";"Home";"19,00";"{base}/c.jpg";""
''',
        line_end="\r\n",
        encoding="cp1252",
    ),
    "akeneo": Export(
        "akeneo",
        "sku",
        "name-en_US",
        ["image", "variation_picture-ecommerce"],
        """\
sku;categories;enabled;family;groups;image;image_alt-en_US;name-en_US;variation_picture-ecommerce;description-en_US-ecommerce
mug-1;mugs,home;1;kitchen;;{base}/a.jpg;"The mug; blue";"Blue mug";{base}/b.jpg;
mug-2;mugs;0;kitchen;;files/mug-2/image/mug2.jpeg;;"Red mug";{base}/c.jpg;"<b>One;
two</b>"
""",
    ),
    "etsy": Export(
        "etsy",
        None,
        "TITLE",
        [f"IMAGE{number}" for number in range(1, 11)],
        """\
TITLE,DESCRIPTION,PRICE,CURRENCY_CODE,QUANTITY,TAGS,MATERIALS,IMAGE1,IMAGE2,IMAGE3,IMAGE4,IMAGE5,IMAGE6,IMAGE7,IMAGE8,IMAGE9,IMAGE10,VARIATION 1 TYPE,SKU
"Linen shirt, blue","A shirt.

Wash it cold.",49.00,EUR,3,"linen,shirt",linen,{base}/a.jpg,{base}/b.jpg,{base}/c.jpg,,,,,,,,Size,LS-1
Hat,Warm,19.00,EUR,1,,,{base}/d.jpg,,,,,,,,,{base}/a.jpg,,
""",
        line_end="\r\n",
    ),
    "ebay": Export(
        "ebay",
        "CustomLabel",
        "*Title",
        ["PicURL"],
        """\
#INFO,Version=0.0.2,Template= eBay-draft-listings-template_US,,
#INFO Action and Category ID are required fields,,,,
*Action(SiteID=US|Country=US|Currency=USD|Version=1193|CC=UTF-8),CustomLabel,*Category,*Title,PicURL
Add,EB-1,20625,"Mug, blue",{base}/a.jpg|{base}/b.jpg
,EB-1-S,,,Colour=Blue|{base}/c.jpg
Add,EB-2,20625,Cup,{base}/d.jpg
""",
        line_end="\r\n",
    ),
    "bigcommerce": Export(
        "bigcommerce",
        "Product ID",
        "Product Name",
        ["Product Image File - 1", "Product Image URL - 1", "Product Image File - 2", "Product Image URL - 2"],
        '''\
"Item Type","Product ID","Product Name","Product Code/SKU","Price","Product Image ID - 1","Product Image File - 1","Product Image URL - 1","Product Image Is Thumbnail - 1","Product Image File - 2","Product Image URL - 2"
"Product","77","Fog Linen Chambray Towel","SLCTBS","49","1","q/123/foglinen.jpeg","{base}/a.jpg","Y","{base}/b.jpg","{base}/c.jpg"
"  SKU","77","[S]Size=XS","SLCTBS-A9615979","","","","","","",""
"Product","80","Orbit Terrarium - ""Large""","OTL","109","2","","{base}/d.jpg","Y","",""
''',
        line_end="\r\n",
    ),
    "amazon": Export(
        "amazon",
        "item_sku",
        "item_name",
        ["main_image_url", *(f"other_image_url{number}" for number in range(1, 9)), "swatch_image_url"],
        "TemplateType=fptcustom\tVersion=2021.1014\tTemplateSignature=SE9NRQ==\tsettings=x=1&y=2"
        + "\t" * 10
        + "\nProduct Type\tSeller SKU\tProduct Name\tMain Image URL\t"
        + "".join(f"Other Image URL{number}\t" for number in range(1, 9))
        + "Swatch Image URL\tDescription\n"
        + "feed_product_type\titem_sku\titem_name\tmain_image_url\t"
        + "".join(f"other_image_url{number}\t" for number in range(1, 9))
        + "swatch_image_url\tproduct_description\n"
        + "home\tAZ-1\tMug, blue\t{base}/a.jpg\t{base}/b.jpg\t{base}/c.jpg"
        + "\t" * 7
        + "{base}/d.jpg\tThe mug\n"
        + "home\tAZ-2\tCup\t{base}/d.jpg"
        + "\t" * 10
        + "\n",
        line_end="\r\n",
    ),
    "google merchant": Export(
        "google_merchant",
        "id",
        "title",
        ["image_link", "additional_image_link"],
        """\
id	title	description	link	image_link	additional_image_link	availability	price
A1	Coffee mug	Blue, 0.3 l	https://shop.example/mug	{base}/a.jpg	{base}/b.jpg,{base}/c.jpg	in stock	9.90 EUR
A2	Café cup	Red; small	https://shop.example/cup	{base}/d.jpg		out of stock	3.00 EUR
""",
        encoding="utf-16",
    ),
    "basic": Export(
        "basic",
        "S. No.",
        "Product Name",
        ["Input Image Urls"],
        """\
sep=;
S. No.;Product Name;Input Image Urls;Note
1.;Mug;{base}/a.jpg,{base}/b.jpg;"a;b"
2.;Cup;"[""{base}/c.jpg"", ""{base}/a.jpg""]";
3.;Plate;"{base}/a.jpg
{base}/d.jpg";last""",
        line_end="\r\n",
        encoding="utf-8-sig",
    ),
}
