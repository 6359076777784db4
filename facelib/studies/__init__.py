"""The sources' experiments as named sets of short, seeded, resumable runs; what they found goes to book/results/.

`facelib study glcic` trains every variant from the same seed on the same faces, measures it on the test split, and
writes what the source claimed beside what came out. Runs that are there are not trained again. One file, one study.
"""

from facelib.studies import dcgan, denoising, enhance, glcic
from facelib.studies.study import carry_out

STUDIES = {"dcgan": dcgan.study, "denoising": denoising.study, "enhance": enhance.study,
           "glcic": glcic.study}


def run(name, **options):
    """Run the study of this name -> its report; options as for `study.carry_out`. ValueError for an unknown study."""
    if name not in STUDIES:
        raise ValueError(f"study must be one of {', '.join(STUDIES)}, got {name!r}")
    return carry_out(name, STUDIES[name](), **options)
