# ruff: noqa: E501
"""What the made-up shop sells: every product's words, price and look.

One rule: a product is data. Its id gives its kind, its look is read by `kinds.BUILDERS[kind]`, and products with
one `group` differ in colour or pattern only.
The file is long, and so are its lines, because it is a table: one entry a product.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from .finish import Finish as F

WOOD, OAK, WALNUT, BLACK, STEEL = (
    F("wood", "#9a6a3f"),
    F("wood", "#c99a62"),
    F("wood", "#5a3822"),
    F("paint", "#1b1b1d"),
    F("chrome", "#d8dade"),
)
BRASS = F("metal", "#c9a04e")


@dataclass(frozen=True, slots=True)
class Product:
    """One thing that the shop sells. `price` is in cents of `USD`."""

    id: str
    title: str
    brand: str
    price: int
    color: str
    material: str
    look: dict[str, Any]
    group: str = ""
    angle: float = 28.0
    """How far the studio turns it from the camera, in degrees."""
    second: bool = False
    """Whether the studio takes a second picture from another side."""
    extra: dict[str, str] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return self.id.rsplit("-", 1)[0]


def _p(id: str, title: str, brand: str, price: int, color: str, material: str, group: str = "", angle: float = 28.0,
       second: bool = False, **look: Any) -> Product:  # fmt: skip
    return Product(id, title, brand, price, color, material, look, group, angle, second)


# fmt: off
SEATING = (
    _p("chair-01", "Fjordal Dining Chair with Slatted Back", "Fjordal", 12900, "Oak", "Oak", second=True,
       form="slats", frame=OAK, seat=OAK),
    _p("chair-02", "Petal Shell Chair, Mustard", "Nordlune", 8900, "Mustard", "Polypropylene", "petal-shell",
       form="shell", frame=OAK, seat=F("plastic", "#e0a526")),
    _p("chair-03", "Petal Shell Chair, Sea Green", "Nordlune", 8900, "Sea Green", "Polypropylene", "petal-shell",
       form="shell", frame=OAK, seat=F("plastic", "#2f8f83")),
    _p("chair-04", "Marlow Upholstered Chair, Burgundy", "Hollin & Rae", 17500, "Burgundy", "Velvet", second=True,
       form="panel", frame=BLACK, seat=F("velvet", "#7a1f35")),
    _p("chair-05", "Pella Ladder-Back Chair", "Fjordal", 14500, "Black", "Ash",
       form="ladder", frame=F("paint", "#222326"), seat=F("leather", "#b98552")),
    _p("chair-06", "Tube Cantilever Chair, Cobalt", "Atelier Rohr", 15900, "Cobalt", "Steel",
       form="cantilever", frame=STEEL, seat=F("cloth", "#2346a8")),
    _p("sofa-01", "Oslo Two-Seat Sofa, Slate", "Hollin & Rae", 89900, "Slate Grey", "Wool", "oslo-sofa", second=True,
       cloth=F("cloth", "#5c6670"), leg=OAK, width=1.7, seats=2, cushions=(F("cloth", "#e3b23c"),)),
    _p("sofa-02", "Oslo Two-Seat Sofa, Coral", "Hollin & Rae", 89900, "Coral", "Wool", "oslo-sofa",
       cloth=F("cloth", "#d9644f"), leg=OAK, width=1.7, seats=2, cushions=(F("cloth", "#f2e6d8"),)),
    _p("sofa-03", "Bergamo Three-Seat Leather Sofa", "Casa Vento", 159000, "Cognac", "Leather",
       cloth=F("leather", "#8a4a22"), leg=BLACK, width=2.15, seats=3, arm=0.22, buttons=True, round=0.1),
    _p("sofa-04", "Emerald Velvet Sofa", "Casa Vento", 124900, "Emerald", "Velvet",
       cloth=F("velvet", "#0f5a43"), leg=BRASS, width=1.9, seats=2, arm=0.14, back=0.56, round=0.06,
       cushions=(F("velvet", "#d9a5a0"), F("velvet", "#d9a5a0"))),
    _p("sofa-05", "Blanca Striped Loveseat", "Maison Lune", 98900, "Cream/Navy", "Cotton",
       cloth=F("cloth", "#f0e8da", "stripes", ("#efe6d6", "#efe6d6", "#2b3f67"), {"count": 9, "upright": True}, 2.2, True),
       leg=WALNUT, width=1.6, seats=2, arm=0.2, round=0.1),
)
BEDS = (
    _p("bed-01", "Haven Panel Bed, Sage", "Fjordal", 74900, "Sage", "Oak", "haven-bed", second=True,
       head="panel", frame=OAK, cover=F("cloth", "#8fa58a"), throw=F("cloth", "#f2ead8"), sheet=F("cloth", "#f3efe6"), accent=F("cloth", "#5f7a5c")),
    _p("bed-02", "Haven Panel Bed, Terracotta", "Fjordal", 74900, "Terracotta", "Oak", "haven-bed",
       head="panel", frame=OAK, cover=F("cloth", "#c4694a"), throw=F("cloth", "#f7e3cf"), sheet=F("cloth", "#f3efe6"), accent=F("cloth", "#e7b48f")),
    _p("bed-03", "Duchess Tufted Bed, Navy", "Maison Lune", 119000, "Navy", "Velvet",
       head="tufted", frame=F("velvet", "#1e2c52"), cover=F("cloth", "#e9e6e1"), sheet=F("cloth", "#ffffff"),
       accent=F("velvet", "#26386b"), throw=F("velvet", "#c9a04e")),
    _p("bed-04", "Arc Iron Bed, Floral", "Atelier Rohr", 68900, "Black", "Iron",
       head="arch", frame=BLACK, sheet=F("cloth", "#f7dfe2"), accent=F("cloth", "#d8798c"),
       cover=F("cloth", "#fff4ef", "floral", ("#fdf1ec", "#d8657f", "#5f8f62", "#f2c14e"), {}, 1.3, True)),
    _p("bed-05", "Junior Slat Bed, Blue Gingham", "Little Orchard", 39900, "White/Blue", "Pine",
       head="slats", width=1.05, frame=F("paint", "#f2f2ee"), sheet=F("cloth", "#ffffff"), accent=F("cloth", "#f2c230"),
       cover=F("cloth", "#4a86c8", "checks", ("#ffffff", "#2f6fc0"), {"count": 8}, 1.8, True)),
)
VASES = (
    _p("vase-01", "Delos Amphora Vase, Terracotta", "Kilnside", 5900, "Terracotta", "Earthenware", second=True,
       form="amphora", glaze=F("clay", "#b5603c", "bands", ("#b5603c", "#f0dcc0", "#b5603c"), {"edges": (0.5, 0.66)})),
    _p("vase-02", "Cobalt Stripe Vase", "Kilnside", 4500, "White/Cobalt", "Porcelain", "stripe-vase",
       form="sphere", glaze=F("ceramic", "#ffffff", "stripes", ("#fbfaf6", "#1c3fa0"), {"count": 10})),
    _p("vase-03", "Sunny Stripe Vase", "Kilnside", 4500, "White/Yellow", "Porcelain", "stripe-vase",
       form="sphere", glaze=F("ceramic", "#ffffff", "stripes", ("#fbfaf6", "#f0b41c"), {"count": 10})),
    _p("vase-04", "Totem Stacked Vase, Teal", "Studio Brae", 6900, "Teal", "Stoneware",
       form="stack", size=1.3, glaze=F("ceramic", "#127a7d")),
    _p("vase-05", "Noir Long-Neck Vase", "Studio Brae", 5200, "Black", "Stoneware",
       form="bottle", glaze=F("ceramic", "#161518", "speckle", ("#19181b", "#c9a04e", "#e9d9b0"), {"count": 140, "size": 7}, around=2.0)),
    _p("vase-06", "Rosa Flared Vase", "Maison Lune", 4900, "Pink", "Glazed Ceramic",
       form="flare", glaze=F("ceramic", "#e58fa0")),
)
MUGS = (
    _p("mug-01", "Dotty Mug, Red", "Kilnside", 1490, "White/Red", "Stoneware", "dotty-mug", second=True,
       form="straight", glaze=F("ceramic", "#ffffff", "dots", ("#fbf8f2", "#d02f2f"), {"count": 5}, around=2.0), inside=F("ceramic", "#fbf8f2")),
    _p("mug-02", "Dotty Mug, Blue", "Kilnside", 1490, "White/Blue", "Stoneware", "dotty-mug",
       form="straight", glaze=F("ceramic", "#ffffff", "dots", ("#fbf8f2", "#2257b8"), {"count": 5}, around=2.0), inside=F("ceramic", "#fbf8f2")),
    _p("mug-03", "Camp Enamel Mug, Green", "Tarn Outdoor", 1890, "Green", "Enamel",
       form="straight", glaze=F("ceramic", "#1f6b45", "speckle", ("#1f6b45", "#f1f1e6"), {"count": 260, "size": 5}, around=2.0),
       inside=F("ceramic", "#f4f1e6"), reach=0.034),
    _p("mug-04", "Dip-Glaze Tulip Cup, Sand", "Studio Brae", 2200, "Sand", "Stoneware",
       form="tulip", glaze=F("clay", "#c8a578", "bands", ("#c8a578", "#f5f0e6"), {"edges": (0.45,)}), inside=F("ceramic", "#f5f0e6")),
    _p("mug-05", "Zigzag Belly Mug", "Casa Vento", 1990, "Orange/Navy", "Ceramic",
       form="round", glaze=F("ceramic", "#ffffff", "zigzag", ("#f6efe0", "#e5722a", "#1f3157"), {"count": 9}, around=1.5), inside=F("ceramic", "#1f3157"),
       handle=F("ceramic", "#1f3157")),
    _p("mug-06", "Crema Cup and Saucer, Black", "Atelier Rohr", 2400, "Black", "Porcelain",
       form="wide", glaze=F("ceramic", "#17171a"), inside=F("ceramic", "#f5f2ea"), saucer=True, reach=0.026, fill=F("liquid", "#3a1c0c")),
)
BOWLS = (
    _p("bowl-01", "Everyday Bowl, Sky", "Kilnside", 1690, "Sky Blue", "Stoneware", "everyday-bowl", second=True,
       form="round", glaze=F("ceramic", "#6fb3d9"), inside=F("ceramic", "#f6f4ee")),
    _p("bowl-02", "Everyday Bowl, Tomato", "Kilnside", 1690, "Tomato", "Stoneware", "everyday-bowl",
       form="round", glaze=F("ceramic", "#cf3f2b"), inside=F("ceramic", "#f6f4ee")),
    _p("bowl-03", "Acacia Salad Bowl", "Fjordal", 4200, "Walnut", "Acacia", form="wide",
       glaze=F("wood", "#7a4a28"), inside=F("wood", "#8a5630")),
    _p("bowl-04", "Footed Fruit Bowl, Blue Floral", "Maison Lune", 5400, "White/Blue", "Porcelain", form="foot",
       glaze=F("ceramic", "#ffffff", "floral", ("#fbfbf8", "#2a55b0", "#4d7fc4", "#9fc0e8"), around=3.0), inside=F("ceramic", "#fbfbf8")),
    _p("bowl-05", "Ramen Bowl, Charcoal", "Studio Brae", 2600, "Charcoal", "Stoneware", form="cone",
       glaze=F("clay", "#2d2e31", "bands", ("#2d2e31", "#2d2e31", "#c7622f"), {"edges": (0.6, 0.8)}), inside=F("ceramic", "#3c5c58")),
)
BOTTLES = (
    _p("bottle-01", "Colline Rouge Red Wine 750 ml", "Domaine Colline", 1890, "Dark Green", "Glass", "colline-wine", second=True,
       form="wine", body=F("bottle", "#0d1a10"), cap=F("paint", "#7a1626"), cap_height=0.06, span=(0.045, 0.14),
       label=("#f4ecd8", "#5a1220", "#a3243b"), words=("Colline", "ROUGE"), motif="hill", angle=0.0),
    _p("bottle-02", "Colline Blanc White Wine 750 ml", "Domaine Colline", 1790, "Olive", "Glass", "colline-wine",
       form="wine", body=F("bottle", "#8a8a3a"), cap=F("metal", "#d8b45a"), cap_height=0.06, span=(0.045, 0.14),
       label=("#fbf8ee", "#3b4a20", "#8aa33b"), words=("Colline", "BLANC"), motif="hill", angle=0.0),
    _p("bottle-03", "Solana Orange Soda 330 ml", "Solana", 290, "Orange", "Glass", angle=0.0,
       form="soda", body=F("bottle", "#e8720c"), cap=F("metal", "#d9dadd"), cap_height=0.01, span=(0.055, 0.115),
       label=("#1d5fae", "#ffffff", "#ffc83d"), words=("Solana", "ORANGE"), motif="sun"),
    _p("bottle-04", "Oliveto Extra Virgin Olive Oil 500 ml", "Oliveto", 1450, "Dark Green", "Glass", angle=0.0,
       form="square", body=F("bottle", "#3c4a12"), cap=F("paint", "#1a1a1a"), cap_height=0.03, span=(0.025, 0.1),
       label=("#f6f0d2", "#2f4a1c", "#5f8a2a"), words=("Oliveto", "EXTRA VERGINE"), motif="leaf"),
    _p("bottle-05", "Tarn Insulated Flask, Aqua", "Tarn Outdoor", 2990, "Aqua", "Steel", angle=0.0,
       form="flask", body=F("paint", "#1fa7b8"), cap=F("plastic", "#1b1c1f"), cap_height=0.035, span=(0.08, 0.15),
       label=("#1fa7b8", "#ffffff", "#ffffff"), words=("TARN", "OUTDOOR"), motif="hill"),
    _p("bottle-06", "Fuego Hot Sauce 250 ml", "Casa Fuego", 690, "Red", "Glass", angle=0.0,
       form="sauce", body=F("bottle", "#a3150c"), cap=F("plastic", "#1f8a3c"), cap_height=0.035, span=(0.02, 0.095),
       label=("#ffd23f", "#a3150c", "#d7301f"), words=("FUEGO", "HOT SAUCE"), motif="diamond"),
)
GLASSES = (
    _p("wineglass-01", "Vela Goblet with Red Wine", "Vetro Sei", 1600, "Clear", "Crystal", "vela-goblet", second=True,
       form="goblet", glass=F("glass", "#ffffff"), fill=F("liquid", "#4a0714")),
    _p("wineglass-02", "Vela Goblet, Cobalt Glass", "Vetro Sei", 1900, "Cobalt", "Crystal", "vela-goblet",
       form="goblet", glass=F("glass", "#7f9cf0"), stem=F("glass", "#7f9cf0")),
    _p("wineglass-03", "Festa Flute with Sparkling Wine", "Vetro Sei", 1500, "Clear", "Crystal",
       form="flute", glass=F("glass", "#ffffff"), fill=F("liquid", "#e3b53c"), level=0.75, rim=BRASS),
    _p("wineglass-04", "Amber Coupe", "Maison Lune", 1800, "Amber", "Glass",
       form="coupe", glass=F("glass", "#f2b45a"), stem=F("glass", "#f2b45a")),
    _p("wineglass-05", "Verde Stem Glass", "Casa Vento", 1400, "Clear/Green", "Glass",
       form="tulip", glass=F("glass", "#ffffff"), stem=F("glass", "#3fae62"), fill=F("liquid", "#efdf9a"), level=0.55),
)
PLANTS = (
    _p("plant-01", "Snake Plant in White Pot", "Green Room", 3400, "Green/White", "Ceramic", "snake-plant", second=True,
       scale=1.35, grows="snake", green="#3f7038", form="cylinder", pot=F("ceramic", "#f1efe8")),
    _p("plant-02", "Snake Plant in Coral Pot", "Green Room", 3400, "Green/Coral", "Ceramic", "snake-plant",
       scale=1.35, grows="snake", green="#3f7038", form="cylinder", pot=F("ceramic", "#e8684f")),
    _p("plant-03", "Boxwood Ball in Terracotta", "Green Room", 2900, "Green/Terracotta", "Terracotta",
       scale=1.2, grows="bush", green="#3f8a35", form="terracotta", pot=F("clay", "#b4623c")),
    _p("plant-04", "Rubber Plant in Black Pot", "Green Room", 4500, "Dark Green/Black", "Ceramic",
       scale=1.9, grows="rubber", green="#1f5a36", form="taper", pot=F("clay", "#232326")),
    _p("plant-05", "Parlour Palm in Woven-Blue Pot", "Green Room", 5200, "Green/Blue", "Ceramic",
       scale=1.8, grows="palm", green="#4c9440", form="round", pot=F("ceramic", "#ffffff", "zigzag", ("#f4f1e8", "#2a5aa8"), {"count": 10}, around=2.0)),
    _p("plant-06", "Echeveria in Speckled Bowl", "Green Room", 1900, "Blue-green/Grey", "Stoneware",
       scale=0.62, grows="succulent", green="#6fa890", form="round", pot=F("clay", "#dddddd", "speckle", ("#d9d5cc", "#3d3d40", "#b0623f"), around=2.0)),
    _p("plant-07", "Flowering Cactus in Yellow Pot", "Green Room", 2300, "Green/Yellow", "Ceramic",
       grows="cactus", green="#4f8f4a", form="taper", pot=F("ceramic", "#f0bc2e")),
)
CLOCKS = (
    _p("clock-01", "Station Wall Clock, Black", "Atelier Rohr", 4900, "Black", "Aluminium", "station-clock", second=True,
       form="wall", frame=F("paint", "#18181a"), dial=("#fdfdfa", "#141416", "#d3302a"), style="digits", angle=8.0),
    _p("clock-02", "Station Wall Clock, Red", "Atelier Rohr", 4900, "Red", "Aluminium", "station-clock",
       form="wall", frame=F("plastic", "#c62828"), dial=("#fdfdfa", "#141416", "#d3302a"), style="digits", angle=8.0),
    _p("clock-03", "Twin-Bell Alarm Clock, Mint", "Little Orchard", 2900, "Mint", "Steel", angle=12.0,
       form="alarm", radius=0.068, frame=F("plastic", "#6fc7ac"), dial=("#fffdf4", "#22332e", "#e4572e"), style="digits", time=(7, 22)),
    _p("clock-04", "Sunburst Clock, Brass", "Maison Lune", 8900, "Brass", "Brass", angle=8.0,
       form="sunburst", radius=0.15, frame=BRASS, dial=("#f6efe0", "#4a3414", "#4a3414"), style="roman", time=(1, 50)),
    _p("clock-05", "Quadro Square Clock, Walnut", "Fjordal", 5900, "Walnut", "Walnut", angle=8.0,
       form="square", radius=0.15, frame=WALNUT, dial=("#e9e4d6", "#2b2018", "#c8622d"), style="dots", time=(4, 38)),
)
TEDDIES = (
    _p("teddy-01", "Barnaby Bear with Red Scarf", "Little Orchard", 2490, "Brown", "Plush", "barnaby-bear", second=True, angle=18.0,
       fur="#7a4a26", light="#d2a672", nose=F("plastic", "#17110d"), scarf=F("cloth", "#c8202c")),
    _p("teddy-02", "Barnaby Bear with Blue Scarf", "Little Orchard", 2490, "Honey", "Plush", "barnaby-bear", angle=18.0,
       fur="#c58b46", light="#f0d6a6", nose=F("plastic", "#17110d"), scarf=F("cloth", "#2457b0")),
    _p("teddy-03", "Snow Bear with Bow", "Little Orchard", 2690, "White", "Plush", angle=18.0,
       fur="#ece7dd", light="#fbf7f0", nose=F("plastic", "#2a2423"), bow=F("velvet", "#d8587c")),
    _p("teddy-04", "Ping the Panda", "Little Orchard", 2790, "Black/White", "Plush", angle=18.0,
       fur="#f0eee8", light="#f0eee8", limbs="#19191b", patch=F("cloth", "#19191b"), nose=F("plastic", "#101010")),
    _p("teddy-05", "Sailor Bear in Striped Shirt", "Little Orchard", 2990, "Grey", "Plush", angle=18.0,
       fur="#7d7f85", light="#c9cacd", nose=F("plastic", "#15151a"),
       shirt=F("cloth", "#ffffff", "stripes", ("#ffffff", "#20365f"), {"count": 12})),
)
LAPTOPS = (
    _p("laptop-01", "Aeris 14 Laptop, Silver", "Quillon", 109900, "Silver", "Aluminium", "aeris-14", angle=24.0, second=True,
       shell=F("paint", "#c9ccd1"), keys=F("plastic", "#16171a"), shows="hills"),
    _p("laptop-02", "Aeris 14 Laptop, Rose", "Quillon", 109900, "Rose", "Aluminium", "aeris-14", angle=24.0,
       shell=F("paint", "#e3a79d"), keys=F("plastic", "#fbfaf8"), shows="hills"),
    _p("laptop-03", "Forge 16 Developer Laptop", "Ironwake", 159900, "Black", "Magnesium", angle=24.0,
       shell=F("paint", "#1d1e22"), keys=F("plastic", "#2c2e34"), pad=F("paint", "#33353c"), shows="code"),
    _p("laptop-04", "Breeze Student Laptop, Aqua", "Quillon", 54900, "Aqua", "Plastic", angle=24.0,
       shell=F("plastic", "#3fb7c9"), keys=F("plastic", "#f2f4f4"), bezel="#f2f4f4", shows="shapes"),
    _p("laptop-05", "Ledger Office Laptop", "Ironwake", 89900, "Graphite", "Aluminium", angle=24.0,
       shell=F("paint", "#5b6068"), keys=F("plastic", "#17181b"), shows="chart"),
)
TVS = (
    _p("tv-01", "Lumen 43 Television on Pedestal", "Ostara", 39900, "Black", "Plastic", angle=16.0,
       stand="pedestal", width=0.97, body=F("plastic", "#141518"), leg=F("plastic", "#1b1c1f"), shows="city"),
    _p("tv-02", "Gallery 50 Television on Easel, Oak", "Ostara", 89900, "White/Oak", "Oak", angle=16.0, second=True,
       stand="easel", width=1.1, body=F("paint", "#f0efec"), leg=OAK, shows="shapes"),
    _p("tv-03", "Retrovision 32 Television, Walnut", "Belweather", 64900, "Walnut", "Walnut", "retrovision", angle=20.0,
       stand="retro", width=0.75, body=F("wood", "#8a5430", options={}), leg=WALNUT, shows="sea"),
    _p("tv-04", "Retrovision 32 Television, Red", "Belweather", 64900, "Red", "Lacquer", "retrovision", angle=20.0,
       stand="retro", width=0.75, body=F("plastic", "#b8262b"), leg=WALNUT, shows="sea"),
    _p("tv-05", "Aurora 55 Television", "Ostara", 69900, "Silver", "Aluminium", angle=16.0,
       stand="feet", width=1.23, body=F("metal", "#b9bcc2"), leg=F("metal", "#b9bcc2"), shows="aurora"),
)
SUITCASES = (
    _p("suitcase-01", "Orbit Cabin Case, Yellow", "Voyant", 11900, "Yellow", "Polycarbonate", "orbit-case", second=True,
       form="ribbed", shell=F("plastic", "#f0b41c"), trim=F("plastic", "#1b1b1d")),
    _p("suitcase-02", "Orbit Cabin Case, Petrol", "Voyant", 11900, "Petrol", "Polycarbonate", "orbit-case",
       form="ribbed", shell=F("plastic", "#0f5a6b"), trim=F("plastic", "#1b1b1d")),
    _p("suitcase-03", "Heritage Trunk, Cognac", "Hollin & Rae", 18900, "Cognac", "Leather",
       form="trunk", size=(0.66, 0.24, 0.44), shell=F("leather", "#a0622f"), trim=F("leather", "#4a2a16")),
    _p("suitcase-04", "Confetti Kids Case", "Little Orchard", 6900, "Pink", "Polycarbonate",
       form="smooth", size=(0.36, 0.22, 0.46), pull=0.12, trim=F("plastic", "#ffffff"),
       shell=F("plastic", "#f2a0b5", "dots", ("#f2a0b5", "#ffffff", "#3f9fc8", "#f0c23c"), {"count": 6}, 2.6, True)),
    _p("suitcase-05", "Tartan Weekender Trunk", "Voyant", 14900, "Red/Green", "Canvas",
       form="trunk", size=(0.6, 0.22, 0.4), trim=F("leather", "#2a1a12"),
       shell=F("cloth", "#ffffff", "checks", ("#a8232b", "#1f4a35"), {"count": 8}, 3.2, True)),
)
# fmt: on

PRODUCTS: tuple[Product, ...] = (
    *SEATING, *BEDS, *VASES, *MUGS, *BOWLS, *BOTTLES, *GLASSES, *PLANTS, *CLOCKS, *TEDDIES, *LAPTOPS, *TVS, *SUITCASES,
)  # fmt: skip
BY_ID: dict[str, Product] = {product.id: product for product in PRODUCTS}
