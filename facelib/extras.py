"""Optional packages: imported where they are used, with an error that says how to get them."""

import importlib

EXTRAS = {
    "cv2": ("opencv-python-headless", "photos"),
    "skimage": ("scikit-image", "photos"),
    "scipy": ("scipy", "photos"),
    "accelerate": ("accelerate", "train"),
    "torchmetrics": ("torchmetrics", "train"),
    "tensorboard": ("tensorboard", "train"),
    "sklearn": ("scikit-learn", "train"),
    "matplotlib": ("matplotlib", "book"),
    "ipywidgets": ("ipywidgets", "book"),
    "anywidget": ("anywidget", "book"),
    "tyro": ("tyro", "train"),
    "dlib": ("dlib-bin", "judges"),
    "onnx": ("onnx", "export"),
    "onnxscript": ("onnxscript", "export"),
}


def need(module):
    """Import an optional module, for example `need("scipy.sparse")`.

    Raises ImportError that names the package and the extra to install when it is missing.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        top = module.split(".")[0]
        if top not in EXTRAS:
            raise
        package, extra = EXTRAS[top]
        raise ImportError(f"{package} is needed here but cannot be imported ({error}); "
                          f'install it with: pip install "facelib[{extra}]"') from error
