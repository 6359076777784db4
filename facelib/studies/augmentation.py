"""Do edited faces help a recogniser that has few photographs of each person? The goal that Poka et al. 2019 set themselves.

Closed-set identification: k photographs each of P people to learn from, others of the same people to be named. A small
network learns from the photographs alone, with classical copies, and with edits of them; so does a linear head on frozen
features (`perceptual`; the judges, which measure how far an edit keeps the person, must not be what profits from it).

Two sets of people. *photographs*: people of celeba160's val and test splits, whom neither generator nor predictor nor
features have seen. *rendered*: people of the renderer, for whom the true edit is known, so that the question splits in
two: what would perfect edits bring, and what is lost because ours are not perfect?
"""

import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from facelib import recogniser, weights
from facelib.data import load_faces, synthetic, to_float, to_uint8
from facelib.evaluate import hardware, interval, save
from facelib.features import load as load_features
from facelib.metrics import identity_distance, psnr
from facelib.pretrained import load_pretrained
from facelib.train import write

RESAMPLES = 2000        # bootstrap samples of seeds and people
JUDGED = 3              # photographs of each person that the judge of identity sees, and their copies
AXES = 8                # directions of feature space that copies may lie along, in `spread`
EDITS = (("Smiling", 1.0), ("Smiling", -1.0), ("Eyeglasses", 1.0), ("Bangs", 1.0), ("No_Beard", -1.0))
# The edits that the renderer knows too -> what they change of a person's factors; and what no attribute can say.
TRUE = {("Smiling", 1.0): {"smile": 1.0}, ("Smiling", -1.0): {"smile": -0.2, "mouth_open": 0.0},
        ("Eyeglasses", 1.0): {"glasses": 1.0, "sunglasses": 0.0}, ("Bangs", 1.0): {"fringe": 0.8}}
TURNED = ({"yaw": 0.35}, {"yaw": -0.35}, {"light_azimuth": 1.0}, {"light_azimuth": -1.0})
# What changes from one photograph of a rendered person to the next; all other factors are the person.
OCCASION = ("yaw pitch roll light_azimuth light_elevation ambient warmth exposure gaze_x gaze_y eye_open smile mouth_open "
            "fringe glasses sunglasses hat hat_brim hat_rgb cloth_rgb collar jacket jacket_rgb background_rgb background_rgb2 "
            "background_angle background_blobs background_edge texture").split()
# name of an arm -> (change of the network's batches, or None for a head; copies that it is given)
ARMS = {
    "images": (recogniser.shrunk, None),
    "classical": (recogniser.classical, None),
    "classical + edits": (recogniser.classical, "edits"),
    "classical + true edits": (recogniser.classical, "true edits"),
    "classical + turned": (recogniser.classical, "turned"),
    "transfer": (None, None),
    "transfer + classical": (None, "classical"),
    "transfer + edits": (None, "edits"),
    "transfer + strong edits": (None, "strong edits"),
    "transfer + regenerated": (None, "regenerated"),
    "transfer + regenerated, best half": (None, "best half"),
    "transfer + true edits": (None, "true edits"),
    "transfer + turned": (None, "turned"),
}
PAIRS = (("classical", "images"), ("classical + edits", "classical"), ("classical + true edits", "classical"),
         ("classical + turned", "classical"), ("transfer", "classical"),
         ("transfer + classical", "transfer"), ("transfer + edits", "transfer"), ("transfer + strong edits", "transfer"),
         ("transfer + regenerated", "transfer"),
         ("transfer + regenerated, best half", "transfer + regenerated"), ("transfer + true edits", "transfer"),
         ("transfer + turned", "transfer"))
CLAIM = ("Classical augmentation is not sufficient for facial recognition with small data sets; edits of a person's "
         "photographs would enlarge them in a meaningful way. Never tried: the images are not usable for it yet (1, 4).")
NEEDS = ("facelib study augmentation needs photographs with identities: CelebA's folder celeba160, inside one of the folders of "
         "the environment variable FACELIB_DATA. Without it, --quick tries everything on rendered people")


@dataclass(frozen=True)
class Plan:
    """How large an experiment is."""

    shots: tuple                        # numbers of photographs of each person to learn from
    held_out: int                       # photographs of each person to be named
    predictor: str                      # weights, or run folder, of what edits
    edits: tuple                        # (attribute, amount) of each
    seeds: tuple = (0, 1, 2, 3, 4)      # of the photographs that are drawn, the networks' weights and batches
    steps: int = 400                    # of a network's training
    people: int = 0                     # rendered people; 0: photographs, of all who have enough


PHOTOGRAPHS = Plan((1, 2, 5, 10), 5, "predictor", EDITS)
RENDERED = Plan((1, 2, 4), 4, "predictor_synthetic", tuple(TRUE), steps=150, people=12)
QUICK = Plan((1, 2), 2, "predictor_synthetic", tuple(TRUE), seeds=(0, 1), steps=40, people=5)


def carry_out(out=None, runs=None, quick=False):
    """Run the study -> its report, also written to `out` (default book/results/augmentation.json; "" writes nothing).

    runs: the folder of what is kept (rendered people, edits, accuracies), by default runs/study-augmentation: what is there
    is not computed again. quick: a few rendered people and a few steps (default `out` is then nothing). Raises
    FileNotFoundError where there are no photographs, ValueError where there are no weights.
    """
    runs = Path(runs or f"runs/study-augmentation{'-quick' if quick else ''}")
    out = ("" if quick else "book/results/augmentation.json") if out is None else out
    report = {"command": "facelib study augmentation", "claim": CLAIM}
    if not quick:
        report["photographs"] = experiment(photographs(PHOTOGRAPHS), PHOTOGRAPHS, runs / "photographs")
    plan = QUICK if quick else RENDERED
    report["rendered"] = experiment(rendered(plan, runs / "rendered"), plan, runs / "rendered")
    names = {part["plan"]["predictor"] for key, part in report.items() if key in ("photographs", "rendered")}
    report |= {"weights": {name: weights.card(name)["sha256"] for name in sorted({*names, "perceptual", "judge_identity"})},
               "hardware": hardware("cpu"), "torch": torch.__version__}
    if out:
        save(report, out)
    print(table(report))
    return report


@dataclass(frozen=True)
class People:
    """Photographs of P people, n each; truths: name -> the true copies of each, uint8 (P, n, E, 3, H, W)."""

    name: str
    images: np.ndarray                  # uint8 (P, n, 3, H, W)
    truths: dict


def photographs(plan):
    """The people of celeba160's val and test splits who have enough photographs -> People. FileNotFoundError without it."""
    try:
        faces = load_faces("celeba", root="celeba160", size=64)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{NEEDS}.\n{error}") from error
    if faces.test.identities is None:
        raise FileNotFoundError(f"{NEEDS}. There is no identity_CelebA.txt in it, so who is on a photograph is not known")
    each = max(plan.shots) + plan.held_out
    images = []
    for split in (faces.val, faces.test):
        for person in np.unique(split.identities):
            found = np.flatnonzero(split.identities == person)
            if person >= 0 and len(found) >= each:
                images.append(np.asarray(split.images[found[:each]]))
    return People(f"{faces.name}, val and test", np.stack(images), {})


def rendered(plan, folder, seed=7):
    """Rendered people, each on several occasions, and the true edits of every picture -> People; pictures are kept in folder."""
    each = max(plan.shots) + plan.held_out
    when = synthetic.sample_factors(plan.people * each, seed + 1)
    who = {name: value.repeat_interleave(each, 0) for name, value in synthetic.sample_factors(plan.people, seed).items()}
    factors = {name: (when if name in OCCASION else who)[name] for name in who}

    def picture(changes):
        changed = factors | {name: torch.full_like(factors[name], value) for name, value in changes.items()}
        return to_uint8(synthetic.render(changed, 64)).unflatten(0, (plan.people, each)).numpy()

    def pictures(name, several):
        return np.stack([kept(folder / f"{name}-{i}.npy", partial(picture, changes)) for i, changes in enumerate(several)], 2)

    return People("rendered people", pictures("pictures", [{}])[:, :, 0],
                  {"true edits": pictures("true", [TRUE[edit] for edit in plan.edits]), "turned": pictures("turned", TURNED)})


def kept(path, work):
    """The array of this .npy file; of `work()`, which is then written there, where there is no file yet."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(".tmp.npy")
        np.save(temporary, work())
        temporary.replace(path)
    return np.load(path)


def edited(method, images, edits):
    """Copies of faces by a predictor: uint8 (N, 3, H, W) -> edits and regenerated, uint8 (N, E, 3, H, W) each, PSNR (N,).

    As `method.edit` makes them with and without details: of a face the answer is found once, and serves all its edits. The
    PSNR is that of the face that G makes of it unedited: how much of the face the generator could express.
    """
    with_details, regenerated, closeness = [], [], []
    for part in torch.as_tensor(images).split(64):
        face = to_float(part)
        vector = method.layout.join(method.encode(face))
        again = method.generate(vector)
        moved = [method.generate(method.move(vector, *edit)) for edit in edits]
        with_details.append(torch.stack([to_uint8(face + each - again) for each in moved], 1))
        regenerated.append(torch.stack([to_uint8(each) for each in moved], 1))
        closeness.append(psnr(again, face))
    return [torch.cat(found).numpy() for found in (with_details, regenerated, closeness)]


def copies_of(people, plan, folder):
    """Copies of all photographs -> (name -> uint8 (P, n, E, 3, H, W), PSNR of the unedited faces (P, n), the weights' mark).

    The names: edits, strong edits (twice the amounts), regenerated, classical, and those of the true ones that there are.
    """
    flat = people.images.reshape(-1, *people.images.shape[2:])
    method = load_pretrained(plan.predictor)
    mark = method.card["sha256"][:8]                                    # other weights, other files
    files = [folder / f"{name}-{mark}.npy" for name in ("edits", "regenerated", "closeness")]
    if not all(path.exists() for path in files):
        for path, found in zip(files, edited(method, flat, plan.edits), strict=True):
            kept(path, lambda found=found: found)
    twice = [(attribute, 2 * amount) for attribute, amount in plan.edits]
    strong = kept(folder / f"strong-edits-{mark}.npy", lambda: edited(method, flat, twice)[0])
    generator = torch.Generator().manual_seed(0)
    classical = [to_uint8(recogniser.classical(to_float(part), generator, flat.shape[-1])) for part in
                 torch.as_tensor(flat).repeat_interleave(len(plan.edits), 0).split(256)]
    edits, regenerated, closeness = (np.load(path).reshape(*people.images.shape[:2], *shape) for path, shape in
                                     zip(files, 2 * [(len(plan.edits), *flat.shape[1:])] + [()], strict=True))
    found = {"edits": edits, "strong edits": strong.reshape(edits.shape), "regenerated": regenerated,
             "classical": torch.cat(classical).numpy().reshape(edits.shape)}
    return found | people.truths, closeness, mark


def best_half(closeness, features, of_copies):
    """Copies (P, n, E, d) of the half of the photographs whose regenerated faces are closest; the others (P, n, d) stand for
    themselves. closeness: (P, n)."""
    good = torch.as_tensor(closeness >= np.median(closeness))[:, :, None, None]
    return torch.where(good, of_copies, features[:, :, None])


@torch.no_grad()
def seen_by(network, images):
    """A frozen network's features of uint8 faces (..., 3, H, W) -> (..., d)."""
    flat = torch.as_tensor(images).flatten(0, -4)
    return torch.cat([network.features(to_float(part)) for part in flat.split(256)]).unflatten(0, images.shape[:-3])


def experiment(people, plan, folder, arms=None):
    """Train and measure every arm on every number of photographs, with every seed -> a part of the report.

    "arms": arm -> k -> mean accuracy on the held-out photographs with its interval, and "by_seed"; "differences": the
    paired ones; "copies": what the copies are like, see `nature`. arms: only these. ValueError where `folder` holds
    another experiment.
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings, path = json.loads(json.dumps(asdict(plan))), folder / "plan.json"
    if path.exists() and json.loads(path.read_text()) != settings:
        raise ValueError(f"{folder} holds the results of another plan; delete it, or choose another folder with --runs")
    write(path, json.dumps(settings).encode())
    copies, closeness, mark = copies_of(people, plan, folder)
    arms = [arm for arm, (_, kind) in ARMS.items() if kind in {None, "best half", *copies} and (arms is None or arm in arms)]
    kinds = {ARMS[arm][1] for arm in arms}
    copies = {name: images for name, images in copies.items() if name in kinds}
    of = lambda kind: f"-{mark}" if kind in ("edits", "strong edits", "regenerated") else ""
    features, judged, values = {}, {}, {}
    for kind, images in {"": people.images, **copies}.items():
        for network, found, some in (("perceptual", features, images), ("judge_identity", judged, images[:, :JUDGED])):
            file = folder / f"{network}-{kind.replace(' ', '-') or 'photographs'}{of(kind)}.npy"
            found[kind] = torch.from_numpy(kept(file, lambda network=network, some=some: seen_by(load_features(network), some)))
    if "best half" in kinds:
        features["best half"] = best_half(closeness, features[""], features["regenerated"])
    for arm in arms:
        change, kind = ARMS[arm]
        for k in plan.shots:
            work = [partial(accuracies, people, plan, copies.get(kind), features, arm, k, seed) for seed in plan.seeds]
            found = [kept(folder / f"{arm.replace(' ', '-')}-{k}-{seed}{of(kind)}.npy", one) if change else one()
                     for seed, one in zip(plan.seeds, work, strict=True)]
            values[arm, k] = np.stack(found)                                              # (seeds, P)
            print(f"{folder.name}: {arm}, {k} of each: {values[arm, k].mean():.3f}", flush=True)
    draws = resamples(len(plan.seeds), len(people.images))
    told = lambda found: interval(found.ravel(), draws) | {"by_seed": found.mean(1).tolist()}
    return {"data": people.name, "people": len(people.images), "chance": 1 / len(people.images), "plan": settings,
            "arms": {arm: {str(k): told(values[arm, k]) for k in plan.shots} for arm in arms},
            "differences": {f"{a} - {b}": {str(k): told(values[a, k] - values[b, k]) for k in plan.shots}
                            for a, b in PAIRS if a in arms and b in arms},
            "closeness": float(closeness.mean()),
            "another_photograph": spread(features[""], features[""].roll(1, 1)[:, :, None]),
            "copies": {name: nature(people, plan, name, features, judged) for name in copies}}


def drawn(people, plan, seed):
    """Which photographs of each person a seed draws -> order (P, n): the first k to learn from, the last held_out to name."""
    rng = np.random.default_rng(seed)
    return np.stack([rng.permutation(people.images.shape[1]) for _ in people.images])


def accuracies(people, plan, copies, features, arm, k, seed):
    """One recogniser -> the share of each person's held-out photographs that it names rightly, (P,)."""
    change, kind = ARMS[arm]
    order, rows = drawn(people, plan, seed), np.arange(len(people.images))[:, None]
    learnt, asked = (rows, order[:, :k]), (rows, order[:, -plan.held_out:])
    names = torch.arange(len(rows)).repeat_interleave(k)
    pick = lambda found: found[learnt].reshape(-1, *found.shape[2:])
    if change is None:
        some = None if kind is None else pick(features[kind])
        said = recogniser.head(pick(features[""]), names, len(rows), some)(features[""][asked]).argmax(-1)
    else:
        network = recogniser.learn(pick(people.images), names, len(rows), seed, None if copies is None else pick(copies),
                                   change=change, steps=plan.steps)
        said = recogniser.logits(network, people.images[asked].reshape(-1, *people.images.shape[2:])).argmax(-1)
    return (said.reshape(len(rows), -1).numpy() == rows).mean(1)


def resamples(seeds, people):
    """Weights of bootstrap samples of seeds and of people, drawn independently (Owen 2007) -> (RESAMPLES, seeds * people)."""
    rng = np.random.default_rng(0)
    of = [rng.multinomial(n, np.full(n, 1 / n), RESAMPLES) / n for n in (seeds, people)]
    return np.einsum("rs,rp->rsp", *of).reshape(RESAMPLES, -1)


def nature(people, plan, kind, features, judged):
    """What copies of a kind are like, in what two networks see of photographs ("") and copies, (P, n, ...) -> figures.

    identity: their mean distance (1 - cosine) from their photograph in the recogniser's features, beside that of two
    photographs of one person and of two; judge_identity: the same, for JUDGED photographs of each person, by a judge that
    nothing here has learnt from. named: the share of copies of held-out photographs that the head names rightly, which
    learnt from the most photographs, for each copy, beside that of the photographs ("named_photographs").
    size_within_between: see `spread`.
    """
    of_photographs, of_copies = features[""], features[kind]
    figures = {"size_within_between": spread(of_photographs, of_copies)}
    for name, a, b in (("identity", of_photographs, of_copies), ("judge_identity", judged[""], judged[kind])):
        other, stranger = a.roll(1, 1), a.roll(1, 0)
        far = lambda x, y: float(identity_distance(x.flatten(0, -2), y.flatten(0, -2)).mean())
        figures[name] = {"copy": far(a[:, :, None].expand_as(b), b), "same": far(a, other), "stranger": far(a, stranger),
                         "each": [far(a, b[:, :, i]) for i in range(b.shape[2])]}
    hits = []
    for seed in plan.seeds:
        order, rows = drawn(people, plan, seed), np.arange(len(people.images))[:, None]
        k = max(plan.shots)
        names = torch.arange(len(rows)).repeat_interleave(k)
        said = recogniser.head(of_photographs[rows, order[:, :k]].flatten(0, 1), names, len(rows))
        asked = (rows, order[:, -plan.held_out:])
        every = torch.cat([of_photographs[asked][:, :, None], of_copies[asked]], 2)             # (P, held_out, 1 + E, d)
        hits.append((said(every).argmax(-1) == torch.as_tensor(rows)[:, :, None]).float().mean((0, 1)))
    photograph, *each = torch.stack(hits).mean(0).tolist()
    return figures | {"named_photographs": photograph, "named": each}


def spread(features, of_copies, axes=AXES):
    """Along what the copies differ from their photographs: (P, n, d), (P, n, E, d) -> (size, within, between).

    size: the root mean square of that difference over that of two photographs of one person. within, between: shares of
    the variance of a person's photographs, and of the people's means, that lie in the first `axes` principal directions
    of the differences. Copies that teach what does not matter have much of the first and little of the second.
    """
    scaled, copies = (torch.nn.functional.normalize(x.double(), dim=-1) for x in (features, of_copies))
    moves = (copies - scaled[:, :, None]).flatten(0, 2)
    basis = torch.linalg.svd(moves, full_matrices=False).Vh[:axes].T
    p, n = scaled.shape[:2]
    middle = scaled.mean(1, keepdim=True)

    def variances(turn):
        within = ((scaled - middle) @ turn).square().sum() / (p * (n - 1))
        return within, ((middle - middle.mean(0)) @ turn).square().sum() / (p - 1) - within / n    # less the photographs' own

    (within, between), (all_within, all_between) = variances(basis), variances(torch.eye(scaled.shape[-1]).double())
    size = (moves.square().sum(1).mean() / (2 * all_within)).sqrt()
    return float(size), float(within / all_within), float(between / all_between)


def table(report):
    """The report as text: a row for each arm and each difference, with 95 % intervals, a column for each k."""
    lines = []
    for key in ("photographs", "rendered"):
        part = report.get(key)
        if part is None:
            continue
        shots = [str(k) for k in part["plan"]["shots"]]
        lines += ["", f"{key}: {part['people']} people, chance {part['chance']:.1%}; accuracy in %",
                  f"{'':<58}" + "".join(f"{f'k = {k}':>24}" for k in shots)]
        for rows, sign in ((part["arms"], ""), (part["differences"], "+")):
            for name, row in rows.items():
                cells = (f"{100 * row[k]['mean']:{sign}.1f} ({100 * row[k]['low']:{sign}.1f} to {100 * row[k]['high']:{sign}.1f})"
                         for k in shots)
                lines.append(f"{name:<58}" + "".join(f"{cell:>24}" for cell in cells))
        for name, row in part["copies"].items():
            size, within, between = row["size_within_between"]
            lines.append(f"{name:<20} identity {row['identity']['copy']:.3f} (same {row['identity']['same']:.3f}, stranger "
                         f"{row['identity']['stranger']:.3f}), named {np.mean(row['named']):.3f} (photographs "
                         f"{row['named_photographs']:.3f}), size {size:.2f}, within {within:.2f}, between {between:.2f}")
    return "\n".join(lines[1:])
