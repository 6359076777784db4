"""Who is in the picture: named factors, how likely their values are together, and random numbers by (seed, index)."""

import zlib

import numpy as np
import torch

# name: (meaning, low, high). Signed factors without a unit are about standard deviations / 2 from the average face.
FACTORS = {
    "yaw": ("head turned to the picture's right, radians", -0.6, 0.6),
    "pitch": ("head bowed, radians", -0.25, 0.25),
    "roll": ("head tilted to the picture's left, radians", -0.15, 0.15),
    "light_azimuth": ("direction of the main light, 0 is the camera, positive from the right, radians", -1.2, 1.2),
    "light_elevation": ("height of the main light, radians", 0.05, 1.1),
    "ambient": ("share of the light that comes from everywhere", 0.15, 0.5),
    "warmth": ("colour of the main light, negative bluish, positive golden", -1.2, 1.2),
    "exposure": ("logarithm of the exposure", -0.35, 0.35),
    "masculine": ("how masculine jaw, brow ridge, neck and lashes are; other factors are drawn to suit it", 0.0, 1.0),
    "age": ("0 about 18 years, 1 about 80", 0.0, 1.0),
    "asymmetry": ("how the two halves differ: brow, lid, nose and mouth corner", -1.2, 1.2),
    "skin": ("skin tone, 0 lightest, 1 darkest", 0.0, 1.0),
    "undertone": ("negative pink, positive olive", -1.2, 1.2),
    "rosy": ("redness of the cheeks", 0.0, 1.0),
    "freckles": ("freckles on nose and cheeks", 0.0, 1.0),
    "face_width": ("width of the whole head", -1.2, 1.2),
    "face_length": ("length of the face below the eyes", -1.2, 1.2),
    "jaw": ("width of the lower jaw", -1.5, 1.5),
    "chin": ("length and strength of the chin", -1.2, 1.2),
    "cheekbones": ("how far the cheekbones stand out", -1.2, 1.2),
    "fullness": ("hollow (negative) or full (positive) cheeks", -1.2, 1.2),
    "forehead": ("height of the hairline", -1.2, 1.2),
    "hair_rgb": ("colour of the hair, sRGB in [0, 1]", 0.0, 1.0),
    "hair_length": ("0 cropped, 0.5 to the chin, 1 over the shoulders", 0.0, 1.0),
    "hair_volume": ("thickness of the hair", 0.0, 1.0),
    "quiff": ("extra height of the hair above the forehead", 0.0, 1.0),
    "part": ("where the hair is parted, sign is the side", -1.0, 1.0),
    "curl": ("0 straight, 0.4 wavy, 1 tight curls", 0.0, 1.0),
    "fringe": ("hair over the forehead", 0.0, 1.0),
    "recede": ("receding temples", 0.0, 1.0),
    "bald": ("1 bald, 0 not", 0.0, 1.0),
    "locks": ("long hair falling in front of the shoulders", 0.0, 1.0),
    "bun": ("size of a bun on the side of the parting, 0 none", 0.0, 1.0),
    "ponytail": ("a tail over one shoulder: -1 left, 0 none, 1 right", -1.0, 1.0),
    "brow_height": ("height of the eyebrows", -1.2, 1.2),
    "brow_thickness": ("thickness of the eyebrows", -1.2, 1.5),
    "brow_arch": ("bend of the eyebrows", -1.5, 1.2),
    "brow_tilt": ("slant of the eyebrows, positive is outer end up", -1.2, 1.2),
    "eye_size": ("size of the eyes", -1.2, 1.2),
    "eye_spacing": ("distance between the eyes", -1.2, 1.2),
    "eye_tilt": ("slant of the eyes, positive is outer corner up", -1.2, 1.2),
    "eye_open": ("opening of the lids, 0.1 shut, 1 wide", 0.1, 1.2),
    "gaze_x": ("where the eyes look, positive to the picture's right", -1.0, 1.0),
    "gaze_y": ("where the eyes look, positive up", -1.0, 1.0),
    "iris": ("colour of the iris, 0 dark brown, 0.5 green, 0.8 blue, 1 grey", 0.0, 1.0),
    "nose_width": ("width of the nose wings", -1.5, 1.5),
    "nose_length": ("length of the nose", -1.5, 1.5),
    "nose_projection": ("how far the nose stands out", -1.5, 1.5),
    "nose_bridge": ("flat (negative) or high (positive) bridge", -1.5, 1.5),
    "nose_tip": ("droops (negative) or turns up (positive)", -1.2, 1.2),
    "mouth_width": ("width of the mouth", -1.2, 1.2),
    "mouth_height": ("height of the mouth on the face", -1.2, 1.2),
    "lips": ("fullness of the lips", -1.5, 1.5),
    "smile": ("negative sad, 0 neutral, 1 a broad smile", -0.6, 1.2),
    "mouth_open": ("opening of the mouth", 0.0, 1.0),
    "lipstick": ("strength of the lipstick, 0 none", 0.0, 1.0),
    "lip_hue": ("colour of the lipstick, 0 red, 1 berry", 0.0, 1.0),
    "eye_makeup": ("dark lid line and shadow", 0.0, 1.0),
    "beard": ("full beard, 0 none", 0.0, 1.0),
    "goatee": ("beard on the chin only, 0 none", 0.0, 1.0),
    "moustache": ("moustache, 0 none", 0.0, 1.0),
    "stubble": ("shadow of a shaved beard", 0.0, 1.0),
    "glasses": ("1 spectacles, 0 none", 0.0, 1.0),
    "glasses_shape": ("0 small and angular, 1 large and round", 0.0, 1.0),
    "sunglasses": ("1 dark lenses where there are spectacles", 0.0, 1.0),
    "earrings": ("1 earrings, 0 none", 0.0, 1.0),
    "hat": ("1 a hat, 0 none", 0.0, 1.0),
    "hat_brim": ("1 the hat has a peak, 0 it is knitted", 0.0, 1.0),
    "hat_rgb": ("colour of the hat, sRGB in [0, 1]", 0.0, 1.0),
    "cloth_rgb": ("colour of the clothes, sRGB in [0, 1]", 0.0, 1.0),
    "collar": ("depth of the neckline", 0.0, 1.0),
    "jacket": ("1 a jacket over the shirt, 0 none", 0.0, 1.0),
    "jacket_rgb": ("colour of the jacket, sRGB in [0, 1]", 0.0, 1.0),
    "background_rgb": ("colour of the background on one side, sRGB in [0, 1]", 0.0, 1.0),
    "background_rgb2": ("colour of the background on the other side, sRGB in [0, 1]", 0.0, 1.0),
    "background_angle": ("direction of the background's gradient, radians", 0.0, 6.3),
    "background_blobs": ("strength of blurred shapes in the background", 0.0, 1.0),
    "background_edge": ("strength of a blurred upright edge in the background", 0.0, 1.0),
    "texture": ("whole number that fixes strands, folds, freckles, blobs and film grain", 0.0, 2047.0),
}

# black, dark brown, brown, light brown, dark blond, blond, auburn, red, dark grey, grey, white
HAIR = np.array([(18, 15, 15), (42, 29, 23), (76, 51, 36), (116, 83, 56), (152, 120, 84), (200, 168, 120), (92, 44, 27),
                 (142, 70, 38), (92, 90, 89), (146, 144, 142), (202, 199, 194)]) / 255
FULL_RANGE_HAIR = (0.13, 0.34, 0.53, 0.67, 0.78, 0.90, 0.95)   # cumulative shares on light skin, black to auburn, then red
DARK_SKIN_HAIR = (0.66, 0.94)                                   # on darker skin: black, dark brown, brown


class Draws:
    """Random numbers that depend only on (seed, row, name): a counter-based generator.

    Each number is a hash (the finaliser of SplitMix64, Steele et al. 2014) of seed, row, name and component, so a row
    does not depend on the batch it is drawn in, and a new factor leaves the others as they were.
    """

    def __init__(self, seed, rows):
        start = np.array([int(seed) % 2**64], np.uint64)
        self.key = self.mix(self.mix(start) + np.asarray(rows).astype(np.uint64))[:, None]

    @staticmethod
    def mix(z):
        """Scramble uint64 numbers, each for itself (the last steps of SplitMix64): any shape -> the same shape."""
        z = z + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform(self, name, low=0.0, high=1.0, width=1):
        """(n, width) numbers, uniform between low and high."""
        stream = self.mix(np.array([zlib.crc32(name.encode())], np.uint64)) + np.arange(width, dtype=np.uint64)
        bits = self.mix(self.key ^ self.mix(stream)) >> np.uint64(11)
        return low + (high - low) * (bits.astype(np.float64) + 0.5) * 2.0**-53

    def normal(self, name, std=0.5, mean=0.0):
        """(n, 1) normal numbers, cut off at 2.2 standard deviations."""
        z = torch.special.ndtri(torch.from_numpy(self.uniform(name))).numpy()
        return mean + std * z.clip(-2.2, 2.2)

    def chance(self, name, probability):
        """(n, 1) of 1.0 with the given probability (a number or an array), else 0.0."""
        return (self.uniform(name) < probability).astype(np.float64)

    def choose(self, name, values, shares):
        """One of `values` per row; `shares` are the cumulative probabilities of all but the last value."""
        return np.asarray(values)[np.searchsorted(np.asarray(shares), self.uniform(name))]


def hsv_to_rgb(hue, saturation, value):
    """Colours (n, 1) each, in [0, 1] -> sRGB (n, 3)."""
    wheel = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    return value * (1 - saturation * (1 - wheel))


def surroundings_colour(draw, name, value):
    """Colours as rooms and streets have them: mostly warm or bluish, seldom saturated, rarely green or purple."""
    hue = draw.choose(name + "hue", [0.07, 0.10, 0.57, 0.61, 0.01, 0.28, 0.48], [0.30, 0.48, 0.68, 0.84, 0.92, 0.97])
    hue = (hue + draw.normal(name + "shift", 0.02)) % 1
    return hsv_to_rgb(hue, draw.uniform(name + "saturation") ** 1.8 * 0.75 * (1.15 - 0.75 * value), value)


def cloth_colour(draw, name, low, high):
    """Colours of clothes: black, grey, white, navy and denim more often than red, yellow or green."""
    hue = draw.choose(name + "hue", [0.60, 0.63, 0.99, 0.06, 0.12, 0.33, 0.48, 0.9], [0.3, 0.5, 0.67, 0.78, 0.86, 0.91, 0.96])
    saturation = draw.uniform(name + "saturation") * draw.chance(name + "coloured", 0.6) * 0.7
    return hsv_to_rgb((hue + draw.normal(name + "shift", 0.02)) % 1, saturation, draw.uniform(name + "value", low, high))


def hair_colour(draw, skin, age):
    """Colour of the hair (n, 3): lighter colours on lighter skin, grey with age, and some variation."""
    darkness = skin + draw.normal("hair_darkness", 0.12)
    light_skin = draw.choose("hair_kind", range(8), FULL_RANGE_HAIR)
    dark_skin = draw.choose("hair_kind", range(3), DARK_SKIN_HAIR)
    kind = np.where(darkness < 0.42, light_skin, dark_skin)
    grey = draw.chance("grey", ((age - 0.52) * 2.2).clip(0, 0.9)) > 0
    kind = np.where(grey, draw.choose("grey_kind", (8, 9, 10), (0.25, 0.65)), kind)
    return (HAIR[kind[:, 0]] * (1 + draw.normal("hair_shade", 0.16)) + draw.normal("hair_lift", 0.012)).clip(0.03, 0.95)


def sample_factors(n, seed=0, start=0):
    """Draw n people: a dict of float32 tensors, (n, 1) each and (n, 3) for the colours, in the ranges of FACTORS.

    Row i depends only on (seed, start + i), whatever n and start are. Values are rounded to half precision, so that
    factors stored as float16 give the same picture. Raises ValueError for negative n or start.
    """
    if n < 0 or start < 0:
        raise ValueError(f"sample_factors needs n >= 0 and start >= 0, got n={n}, start={start}")
    draw = Draws(seed, np.arange(start, start + n))
    U, N, C = draw.uniform, draw.normal, draw.chance
    man = C("man", 0.5)
    sign, woman = 2 * man - 1, 1 - man
    age, skin = U("age") ** 1.2, U("skin") ** 1.45
    f = {
        "yaw": N("yaw", 0.22), "pitch": N("pitch", 0.085), "roll": N("roll", 0.05),
        "light_azimuth": U("light_azimuth", -1.2, 1.2), "light_elevation": U("light_elevation", 0.1, 1.0),
        "ambient": U("ambient", 0.15, 0.5), "warmth": N("warmth", 0.5, 0.2), "exposure": N("exposure", 0.14),
        "masculine": np.where(man > 0, U("masculine", 0.65, 1.0), U("masculine", 0.0, 0.35)),
        "age": age, "asymmetry": N("asymmetry"), "skin": skin, "undertone": N("undertone"),
        "rosy": U("rosy") ** 1.5, "freckles": C("freckled", 0.22) * (skin < 0.45) * U("freckles", 0.4, 1.0),
        "face_width": N("face_width"), "face_length": N("face_length"), "jaw": N("jaw", 0.5) + 0.4 * sign,
        "chin": N("chin") + 0.15 * sign, "cheekbones": N("cheekbones"), "fullness": N("fullness", 0.55, 0.05),
        "forehead": N("forehead"), "hair_rgb": hair_colour(draw, skin, age),
    }
    tied = C("tied", 0.24 * woman)
    bun = tied * C("bun_or_tail", 0.5)
    loose = np.where(man > 0, U("hair_length") ** 8 * 0.8, 0.06 + 0.94 * U("hair_length"))
    f.update({
        "hair_length": loose * (1 - tied), "hair_volume": U("hair_volume") * (1 - 0.6 * tied),
        "quiff": U("quiff") ** 2 * (1 - tied), "part": U("part", -1, 1),
        "curl": (U("curl") ** 1.8 * 0.75 + 0.45 * (skin > 0.6) * U("tight_curl")).clip(0, 1),
        "fringe": U("fringe", 0.35, 1.0) * C("has_fringe", 0.24 + 0.14 * woman - 0.14 * tied),
        "recede": man * (0.25 * U("recede") + 0.9 * age * U("recede_age")).clip(0, 1),
        "bald": man * C("bald", 0.04 + 0.16 * age), "locks": woman * U("locks") * C("has_locks", 0.75) * (1 - tied),
        "bun": bun * U("bun", 0.4, 1.0), "ponytail": (tied - bun) * np.sign(U("ponytail", -1, 1)),
        "brow_height": N("brow_height"), "brow_thickness": N("brow_thickness", 0.45) + 0.35 * sign,
        "brow_arch": N("brow_arch") - 0.3 * sign, "brow_tilt": N("brow_tilt"),
        "eye_size": N("eye_size") - 0.15 * sign, "eye_spacing": N("eye_spacing"), "eye_tilt": N("eye_tilt"),
        "eye_open": N("eye_open", 0.15, 0.9).clip(0.45, 1.2) * np.where(C("shut", 0.025) > 0, 0.14, 1.0),
        "gaze_x": N("gaze_x", 0.35), "gaze_y": N("gaze_y", 0.25),
        "iris": np.where(U("light_iris") < 0.9 - 1.5 * skin, U("iris", 0.3, 1.0), U("iris", 0.0, 0.24)),
        "nose_width": N("nose_width", 0.45) + 0.6 * (skin - 0.4) + 0.15 * sign,
        "nose_length": N("nose_length", 0.55) + 0.1 * sign, "nose_projection": N("nose_projection", 0.55),
        "nose_bridge": N("nose_bridge", 0.55) - 0.4 * (skin - 0.4), "nose_tip": N("nose_tip") - 0.15 * sign,
        "mouth_width": N("mouth_width"), "mouth_height": N("mouth_height"),
        "lips": N("lips", 0.45) + 0.6 * (skin - 0.45) - 0.2 * sign, "smile": N("smile", 0.5, 0.45).clip(-0.5, 1.2),
        "lipstick": woman * C("wears_lipstick", 0.5) * U("lipstick", 0.35, 1.0), "lip_hue": U("lip_hue"),
        "eye_makeup": woman * C("wears_makeup", 0.55) * U("eye_makeup", 0.3, 1.0),
        "beard": man * C("bearded", 0.24) * U("beard", 0.45, 1.0), "stubble": man * U("stubble") * C("has_stubble", 0.6),
    })
    shaved = man * (f["beard"] == 0)
    f["goatee"] = shaved * C("has_goatee", 0.12) * U("goatee", 0.5, 1.0)
    f["moustache"] = np.maximum(np.maximum(f["beard"], f["goatee"]) * C("with_moustache", 0.85),
                                shaved * C("has_moustache", 0.08) * U("moustache", 0.55, 1.0))
    f["mouth_open"] = C("opens", 0.2 + 0.45 * (f["smile"] > 0.4)) * U("mouth_open", 0.25, 1.0) * (f["smile"] > -0.2)
    value = U("background_value", 0.04, 1.0)
    other = (value * U("background_ratio", 0.45, 1.35)).clip(0.03, 1)
    same = C("background_one_colour", 0.5)
    background = surroundings_colour(draw, "background", value)
    shirt, texture = cloth_colour(draw, "cloth", 0.08, 0.95), np.floor(U("texture", 0, 2048))
    f.update({
        "glasses": C("glasses", 0.13 + 0.15 * age), "glasses_shape": U("glasses_shape"), "sunglasses": C("sunglasses", 0.16),
        "earrings": woman * C("earrings", 0.4), "hat": C("hat", 0.07), "hat_brim": C("hat_brim", 0.5),
        "hat_rgb": cloth_colour(draw, "hat_", 0.06, 0.7), "cloth_rgb": shirt, "collar": U("collar"),
        "jacket": C("jacket", 0.4), "jacket_rgb": cloth_colour(draw, "jacket_", 0.05, 0.4),
        "background_rgb": background, "background_angle": U("background_angle", 0, 2 * np.pi),
        "background_rgb2": np.where(same > 0, background * other / value, surroundings_colour(draw, "second", other)),
        "background_blobs": U("background_blobs") * C("has_blobs", 0.75), "background_edge": U("edge") * C("has_edge", 0.4),
        "texture": texture,
    })
    bounded = {name: np.clip(f[name], low, high) for name, (_, low, high) in FACTORS.items()}
    return {name: torch.from_numpy(value.astype(np.float16).astype(np.float32)) for name, value in bounded.items()}


def check_factors(factors):
    """Raise ValueError unless `factors` holds every factor as a finite (B, 1) tensor, or (B, 3) for a colour."""
    missing, extra = sorted(set(FACTORS) - set(factors)), sorted(set(factors) - set(FACTORS))
    if missing or extra:
        raise ValueError(f"factors must hold the names in FACTORS; missing {missing}, unknown {extra}; "
                         "start from sample_factors(n) and change what you need")
    batch = len(factors["yaw"])
    for name, value in factors.items():
        width = 3 if "rgb" in name else 1
        if tuple(value.shape) != (batch, width):
            raise ValueError(f"factor {name!r} must be ({batch}, {width}), got {tuple(value.shape)}")
        if not torch.isfinite(value).all():
            raise ValueError(f"factor {name!r} must be finite, got {value[~torch.isfinite(value)][:3].tolist()}")
