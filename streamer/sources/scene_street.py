"""What the street shot is made of: sky, houses, a tram and a tree."""

from __future__ import annotations

import numpy as np

from streamer.sources.drawing import DESIGN_HEIGHT, FINE, SMOOTH, Bgr, Canvas, Kit, mix

SKYLINE = 108
"""No roof lies lower than this, in design pixels from the top."""

_WALLS: tuple[Bgr, ...] = (
    (58, 78, 150),
    (84, 120, 186),
    (120, 160, 205),
    (150, 170, 120),
    (168, 140, 92),
    (110, 100, 160),
)
_SIGNS = (
    "CAFE LUMEN",
    "BOOKS & MAPS",
    "CLOCKS",
    "HOTEL ALMA",
    "BAKERY",
    "FLORIST",
    "RECORDS",
    "TEA",
)


def sky(kit: Kit, width: float) -> Canvas:
    canvas = kit.canvas(width, SKYLINE + 4)
    rows = np.linspace(0, 1, canvas.pixels.shape[0], dtype=np.float32)
    clear = mix((196, 132, 70), (186, 206, 244), rows * 2)[:, None]
    cloud = kit.noise(canvas.pixels, falloff=SMOOTH, grain=1.6)
    cloud = np.clip(cloud * 0.6 + 0.15, 0, 1)[..., None]
    canvas.pixels[:] = clear * (1 - cloud) + np.array((236, 240, 250), np.float32) * cloud
    x = -10.0
    while x < width:
        w, top = kit.between(18, 46), kit.between(30, 96)
        tone = kit.between(0.75, 1.0)
        canvas.box(x, top, w, 300, (150 * tone, 128 * tone, 112 * tone))
        canvas.box(x + w * 0.7, top, w * 0.3, 300, (128 * tone, 106 * tone, 92 * tone))
        for wy in np.arange(top + 4, SKYLINE, 4):
            for wx in np.arange(x + 2, x + w - 3, 3.5):
                lit = kit.rng.random() < 0.25
                canvas.box(wx, wy, 2, 2.5, (150, 214, 250) if lit else (112, 92, 84))
        x += w + kit.between(-4, 8)
    return canvas


def facades(kit: Kit, width: float) -> Canvas:
    canvas = kit.canvas(width, DESIGN_HEIGHT, clear=True)
    x, signs = -20.0, list(kit.rng.permutation(_SIGNS))
    while x < width:
        w = kit.between(112, 170)
        _house(kit, canvas, x=x, width=w, sign=str(signs[0]))
        signs.append(signs.pop(0))
        x += w
    canvas.box(0, 292, width, 14, (158, 164, 168))
    for slab in np.arange(0, width, 13):
        canvas.line([(slab, 292), (slab - 5, 306)], (120, 124, 130), 0.6)
    canvas.box(0, 306, width, 4, (186, 192, 196))
    canvas.box(0, 310, width, 50, (84, 80, 78))
    for rail in (322, 340):
        canvas.box(0, rail, width, 1.5, (170, 166, 160))
        canvas.box(0, rail + 1.5, width, 1, (48, 46, 46))
    grime = 1 + 0.07 * kit.noise(canvas.pixels, falloff=FINE)
    grime += 0.04 * kit.noise(canvas.pixels, falloff=SMOOTH)
    canvas.shade(grime)
    return canvas


def _house(kit: Kit, canvas: Canvas, *, x: float, width: float, sign: str) -> None:
    top = kit.between(46, 104)
    wall = kit.pick(_WALLS)
    if kit.rng.random() < 0.3:
        canvas.box(x, top, width, 292 - top, tuple(0.5 * tone + 112 for tone in wall))
        for joint in np.arange(top + 8, 200, 12):
            canvas.box(x, float(joint), width, 0.75, tuple(0.4 * tone + 76 for tone in wall))
    else:
        _bricks(kit, canvas, box=(x, top, width, 292 - top), color=wall)
    canvas.box(x, top - 7, width, 7, (150, 160, 170))
    canvas.box(x - 1, top, width + 2, 2, (90, 100, 112))
    for tooth in np.arange(x + 1, x + width - 2, 5):
        canvas.box(tooth, top + 2, 2.5, 3.5, (170, 178, 186))
    canvas.box(x + width - 2.5, top, 2, 292 - top, (70, 74, 80))
    count = int(width // 34)
    pitch = width / count
    shutter = kit.pick(((96, 120, 50), (130, 84, 46), (60, 60, 140), (70, 100, 60)))
    floors = int((190 - top) // 42)
    for y in 198 - (190 - top) / floors * np.arange(floors) - 36:
        for column in range(count):
            _window(kit, canvas, x=x + pitch * (column + 0.5) - 8, y=float(y), shutter=shutter)
    _shop(kit, canvas, x=x, width=width, sign=sign)


def _bricks(kit: Kit, canvas: Canvas, *, box: tuple[float, ...], color: Bgr) -> None:
    """Courses of 4 by 10 design pixels, each brick of its own shade."""
    k = canvas.texels
    x, y, width, height = (round(side * k) for side in box)
    x, width = max(x, 0), width + min(x, 0)
    part = canvas.pixels[y : y + height, x : x + width]
    rows, columns = (np.arange(side) / k for side in part.shape[:2])
    course = (rows // 4).astype(np.intp)[:, None]
    # Every second course is moved by half a brick.
    along = columns + course % 2 * 5
    tone = kit.rng.normal(1, 0.13, (course.max() + 1, int(along.max() // 10) + 1, 1))
    paint = np.clip(tone * color, 0, 255).astype(np.uint8)
    part[:] = paint[course, (along // 10).astype(np.intp)]
    part[(rows % 4 < 0.75)[:, None] | (along % 10 < 0.75)] = np.array(color) * 0.45 + 88
    if canvas.mask is not None:
        canvas.mask[y : y + height, x : x + width] = 255


def _window(kit: Kit, canvas: Canvas, *, x: float, y: float, shutter: Bgr) -> None:
    canvas.box(x - 2, y - 4, 20, 4, (176, 186, 196))
    canvas.box(x - 1, y, 18, 30, (214, 222, 228))
    glow = kit.rng.random() < 0.3
    low: Bgr = (70, 150, 220) if glow else (92, 70, 50)
    high: Bgr = (120, 200, 250) if glow else (200, 168, 132)
    for step in range(14):
        share = step / 13
        tone = tuple(b * (1 - share) + t * share for t, b in zip(low, high, strict=True))
        canvas.box(x + 1, y + 1.5 + 2 * step, 14, 2, tone)
    canvas.shape([(x + 1, y + 20), (x + 9, y + 1.5), (x + 13, y + 1.5), (x + 2, y + 28)], high)
    canvas.box(x + 7.2, y, 1.2, 30, (222, 228, 232))
    canvas.box(x, y + 10, 16, 1.2, (222, 228, 232))
    canvas.box(x - 3, y + 30, 22, 2.5, (190, 198, 206))
    canvas.box(x - 3, y + 32.5, 22, 1.5, (60, 62, 70))
    for side in (x - 8.5, x + 17.5):
        canvas.box(side, y, 7, 30, shutter)
        for slat in np.arange(y + 1, y + 29, 2):
            canvas.box(side + 1, slat, 5, 1, tuple(0.6 * c for c in shutter))
    if kit.rng.random() < 0.55:
        for _ in range(46):
            bloom = kit.pick(((60, 130, 50), (50, 160, 80), (40, 40, 220), (120, 90, 240)))
            canvas.disc(x + kit.between(-2, 18), y + kit.between(26, 31), 0.9, bloom)


def _shop(kit: Kit, canvas: Canvas, *, x: float, width: float, sign: str) -> None:
    board = kit.pick(((60, 40, 30), (40, 60, 30), (30, 30, 90), (90, 60, 20)))
    canvas.box(x + 4, 204, width - 8, 88, (70, 80, 92))
    canvas.box(x + 6, 206, width - 12, 20, board)
    canvas.box(x + 7, 207, width - 14, 0.8, (120, 190, 220))
    canvas.box(x + 7, 224, width - 14, 0.8, (120, 190, 220))
    canvas.text(sign, x + width / 2, 216, 9, (170, 225, 245))
    glass = kit.between(0.4, 0.8)
    canvas.box(x + 10, 240, width - 46, 44, (50 * glass, 90 * glass, 130 * glass))
    for _ in range(90):
        ware = tuple(kit.rng.uniform(40, 130, 3) + kit.rng.uniform(0, 90))
        at = x + kit.between(11, width - 41)
        shelf = kit.pick((252, 266, 282))
        tall = kit.between(3, 9)
        canvas.box(at, shelf - tall, kit.between(1.5, 4), tall, ware)
    canvas.line([(x + 14, 282), (x + 40, 242)], (190, 200, 205), 0.7)
    canvas.box(x + width - 30, 236, 20, 56, (44, 60, 84))
    canvas.box(x + width - 27, 240, 14, 26, (170, 150, 120))
    canvas.text("OPEN", x + width - 20, 254, 4, (40, 40, 60))
    canvas.disc(x + width - 13, 270, 1.4, (120, 210, 235))
    stripe = kit.pick(((50, 50, 190), (60, 120, 40), (150, 90, 30)))
    count = int((width - 8) // 7)
    pitch = (width - 8) / count
    for index in range(count):
        left = x + 4 + pitch * index
        tone = stripe if index % 2 else (226, 232, 236)
        canvas.shape([(left, 227), (left + pitch, 227), (left + pitch, 243), (left, 243)], tone)
        canvas.disc(left + pitch / 2, 243, pitch / 2, tone)


def tram(kit: Kit) -> Canvas:
    """320 by 110; its wheels stand on row 100."""
    canvas = kit.canvas(320, 110, clear=True)
    paint = kit.pick(((40, 60, 200), (120, 110, 30), (40, 140, 210)))
    canvas.shape([(6, 22), (22, 12), (298, 12), (314, 22), (318, 88), (2, 88)], paint)
    canvas.box(4, 66, 312, 3, (230, 236, 240))
    canvas.box(22, 8, 276, 5, (120, 120, 126))
    canvas.line([(140, 8), (156, 1), (172, 8)], (40, 40, 44), 1.2)
    for index in range(9):
        left = 14 + 33 * index
        canvas.box(left, 24, 28, 30, (60, 52, 44))
        canvas.shape(
            [(left + 3, 54), (left + 14, 24), (left + 22, 24), (left + 11, 54)], (150, 120, 96)
        )
        if kit.rng.random() < 0.7:
            coat = tuple(kit.rng.uniform(40, 210, 3))
            canvas.disc(left + 14, 40, 4, (140, 170, 214))
            canvas.box(left + 8, 45, 12, 9, coat)
    canvas.box(96, 14, 128, 9, (20, 20, 22))
    canvas.text("42 HARBOUR - OLD TOWN", 160, 18.5, 5.6, (60, 190, 250))
    canvas.text("CITY LINES", 160, 78, 8, (236, 240, 244))
    for louvre in np.arange(10, 90, 2):
        canvas.box(float(louvre), 73, 1, 9, tuple(0.6 * c for c in paint))
        canvas.box(float(louvre) + 220, 73, 1, 9, tuple(0.6 * c for c in paint))
    canvas.box(8, 88, 304, 6, (46, 46, 50))
    for wheel in (50, 82, 238, 270):
        canvas.disc(wheel, 93, 8, (40, 40, 42))
        canvas.disc(wheel, 93, 5, (120, 124, 130))
        canvas.disc(wheel, 93, 2, (50, 50, 54))
    canvas.disc(312, 78, 4, (200, 240, 255))
    canvas.shade(1 + 0.04 * kit.noise(canvas.pixels, falloff=FINE))
    return canvas


def tree(kit: Kit) -> Canvas:
    """240 by 340; it grows from (120, 330)."""
    canvas = kit.canvas(240, 340, clear=True)
    canvas.shape([(113, 332), (116, 150), (124, 150), (128, 332)], (40, 56, 74))
    for groove in np.arange(115, 127, 1.8):
        canvas.line([(groove, 330), (groove + kit.between(-1, 1), 190)], (30, 40, 54), 0.5)
    for end in (40, 74, 168, 204):
        canvas.line([(120, 200), (end, kit.between(80, 150))], (38, 52, 68), 3)
    clumps = [(kit.between(52, 188), kit.between(46, 156), kit.between(20, 40)) for _ in range(13)]
    # Dark leaves first and light ones last, the light from the upper left.
    for light in np.linspace(0, 1, 5):
        for cx, cy, size in clumps:
            angle, dx, dy, tone, hue = kit.rng.uniform(-1, 1, (5, 60))
            far = size * kit.rng.random(60) ** 0.6
            x = cx + far * np.cos(angle * np.pi) - 5 * light
            y = cy + far * np.sin(angle * np.pi) * 0.8 - 9 * light
            green = 70 + 110 * light + 24 * tone
            ends = ((-4 * dx, -3 * dy), (1.5 * dy, -2 * dx), (4 * dx, 3 * dy), (-1.5 * dy, 2 * dx))
            leaves = np.array([(x + across, y + down) for across, down in ends])
            colors = np.stack((green * 0.36, green, green * (0.72 + 0.22 * hue)), axis=1)
            canvas.shapes(leaves.transpose(2, 0, 1), colors)
    return canvas
