"""The sources' experiments as named sets of short, seeded, resumable runs; what they found goes to book/results/.

`facelib study glcic` trains every variant from the same seed on the same faces, measures it on the test split, and
writes what the source claimed beside what came out. Runs that are there are not trained again. One file, one study.
"""

from facelib.studies import augmentation, began, dcgan, denoising, enhance, glcic, infogan, recovery
from facelib.studies.study import carry_out

STUDIES = {"began": began.study, "dcgan": dcgan.study, "denoising": denoising.study, "enhance": enhance.study,
           "glcic": glcic.study, "infogan": infogan.study, "latents": recovery.study}
# What is no set of runs of one method: name -> a function with the options out, runs and quick.
OTHERS = {"augmentation": augmentation.carry_out}


def run(name, **options):
    """Run the study of this name -> its report; options as for `study.carry_out`. ValueError for an unknown study."""
    if name in OTHERS:
        return OTHERS[name](**options)
    if name not in STUDIES:
        raise ValueError(f"study must be one of {', '.join([*STUDIES, *OTHERS])}, got {name!r}")
    return carry_out(name, STUDIES[name](), **options)
