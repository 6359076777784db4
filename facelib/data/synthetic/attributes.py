"""What CelebA's annotators would have said: the attributes that follow from the factors."""

import colorsys

import numpy as np
import torch

from ..faces import ATTRIBUTES

# CelebA name: (factor, no at or below, yes at or above); between the two the answer is unknown.
THRESHOLDS = {
    "5_o_Clock_Shadow": ("stubble", 0.25, 0.6), "Arched_Eyebrows": ("brow_arch", 0.0, 0.5),
    "Bald": ("bald", 0.3, 0.7), "Bangs": ("fringe", 0.1, 0.4), "Big_Lips": ("lips", 0.1, 0.6),
    "Big_Nose": ("nose_width", 0.15, 0.6), "Bushy_Eyebrows": ("brow_thickness", 0.1, 0.6),
    "Chubby": ("fullness", 0.4, 0.8), "Eyeglasses": ("glasses", 0.3, 0.7), "Goatee": ("goatee", 0.1, 0.4),
    "Heavy_Makeup": ("eye_makeup", 0.3, 0.7), "High_Cheekbones": ("cheekbones", 0.0, 0.5),
    "Male": ("masculine", 0.4, 0.6), "Mouth_Slightly_Open": ("mouth_open", 0.05, 0.25),
    "Mustache": ("moustache", 0.1, 0.45), "Pale_Skin": ("skin", 0.06, 0.16), "Receding_Hairline": ("recede", 0.2, 0.5),
    "Rosy_Cheeks": ("rosy", 0.35, 0.7), "Smiling": ("smile", 0.25, 0.5), "Wearing_Earrings": ("earrings", 0.3, 0.7),
    "Wearing_Hat": ("hat", 0.3, 0.7), "Wearing_Lipstick": ("lipstick", 0.1, 0.35), "Young": ("age", 0.45, 0.6),
}
REVERSED = ("Pale_Skin", "Young")     # yes where the factor is small


def grade(value, no, yes):
    """1 at or above yes, 0 at or below no, -1 between."""
    return np.where(value >= yes, 1, np.where(value <= no, 0, -1))


def hair_colours(rgb):
    """sRGB (B, 3) -> Black, Blond, Brown and Gray Hair as a dict of int (B,); red hair is none of them."""
    hue, lightness, saturation = np.array([colorsys.rgb_to_hls(*c) for c in rgb.tolist()]).reshape(-1, 3).T
    grey = (saturation < 0.14) & (lightness > 0.24)
    black = ~grey & (lightness < 0.10)
    red = ~grey & ~black & (saturation > 0.5) & (hue < 0.075)
    blond = ~grey & ~black & ~red & (lightness > 0.43)
    brown = ~(grey | black | red | blond)
    unsure = ~grey & ((abs(lightness - 0.43) < 0.03) | (abs(lightness - 0.10) < 0.012))
    kinds = {"Black_Hair": black, "Blond_Hair": blond, "Brown_Hair": brown, "Gray_Hair": grey}
    return {name: np.where(unsure, -1, mask.astype(int)) for name, mask in kinds.items()}


def attributes(factors):
    """CelebA's 40 attributes of the people in `factors`: int8 (B, 40), 1 yes, 0 no, -1 unknown.

    The order is facelib.data.ATTRIBUTES. What no factor decides (Attractive, Blurry, necklaces and neckties ...) and
    cases near a threshold are unknown, as is what a hat, a bald head or dark glasses hide.
    """
    f = {name: torch.as_tensor(value).float().cpu().numpy() for name, value in factors.items()}
    column = {name: f[name][:, 0] for name in f}
    found = {}
    for name, (factor, no, yes) in THRESHOLDS.items():
        answer = grade(column[factor], no, yes)
        found[name] = np.where(answer < 0, -1, 1 - answer) if name in REVERSED else answer
    colours = hair_colours(f["hair_rgb"])
    found.update(colours)
    shaved = np.maximum.reduce([column[name] for name in ("beard", "goatee", "moustache")])
    found["No_Beard"] = np.where(shaved <= 0.05, np.where(column["stubble"] > 0.6, -1, 1), 0)
    found["Sideburns"] = grade(column["beard"], 0.05, 0.6)
    found["Bags_Under_Eyes"] = grade(column["age"], 0.35, 0.65)
    found["Narrow_Eyes"] = np.select([column["eye_open"] <= 0.62, column["eye_open"] >= 0.8], [1, 0], -1)
    oval = column["face_length"] - column["face_width"] - 0.6 * column["jaw"]
    found["Oval_Face"] = grade(oval, 0.0, 0.6)
    found["Pointy_Nose"] = grade(column["nose_projection"] - column["nose_width"], 0.3, 0.9)
    found["Double_Chin"] = grade(column["fullness"] + column["age"], 1.0, 1.6)
    wavy = grade(column["curl"], 0.15, 0.3)
    found["Wavy_Hair"], found["Straight_Hair"] = wavy, np.where(wavy < 0, -1, 1 - wavy)
    hidden_hair = column["bald"] > 0.3
    for name in (*colours, "Wavy_Hair", "Straight_Hair", "Bangs", "Receding_Hairline"):
        found[name] = np.where(hidden_hair, 0, found[name])
    under_hat = column["hat"] > 0.3
    for name in ("Bald", "Bangs", "Receding_Hairline"):
        found[name] = np.where(under_hat, -1, found[name])
    dark_glasses = (column["glasses"] > 0.3) & (column["sunglasses"] > 0.3)
    for name in ("Narrow_Eyes", "Bags_Under_Eyes"):
        found[name] = np.where(dark_glasses, -1, found[name])
    found["5_o_Clock_Shadow"] = np.where(shaved > 0.05, 0, found["5_o_Clock_Shadow"])
    unknown = np.full(len(column["yaw"]), -1)
    return np.stack([found.get(name, unknown) for name in ATTRIBUTES], 1).astype(np.int8)
