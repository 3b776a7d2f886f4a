"""Prints the mean SSIM (on luma) of pairs of images: a JSON list of pairs of paths on stdin; needs scikit-image."""

import json
import sys

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity


def luma(path):
    return np.asarray(Image.open(path).convert("L"))


if __name__ == "__main__":
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 255}
    pairs = json.load(sys.stdin)
    print(np.mean([structural_similarity(luma(first), luma(second), **options) for first, second in pairs]))
