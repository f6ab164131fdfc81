"""Why the libraries refuse to build a model, in words that say what to do instead."""

from __future__ import annotations

import difflib

ANY = "one of segmentation-models-pytorch (resnet34), or one of timm after tu- (tu-convnextv2_tiny)"


def reason(decoder: str, encoder: str, error: Exception) -> str:
    """One or two sentences on an error of segmentation-models-pytorch or timm.

    Args:
        decoder: As segmentation-models-pytorch calls it.
        encoder: As it stands in the option.
        error: What was raised when the model was built.
    """
    message = (str(error.args[0] if error.args else error).splitlines() or [type(error).__name__])[0][:200].rstrip(".!")
    if message.startswith(("Wrong encoder name", "Unknown model")):
        return f"there is no encoder {encoder}.{_nearest(encoder)} Allowed: {ANY}."
    reasons = {
        ("only timm encoders", "not supported for DPT"): "DPT takes a plain vision transformer of timm alone. "
        "Write encoder=tu-vit_small_patch16_224 or another tu-vit_*, or choose another decoder.",
        ("is not support", "is not supported for"): f"this decoder does not take {encoder.partition('_')[0]}_*. "
        "Write encoder=resnet34, or choose unet or segformer for this encoder.",
        ("downsampling pattern",): "the encoder has no features at the five scales from a half to a 32nd, as a plain "
        f"vision transformer has not, which goes with dpt alone. Write dpt[encoder={encoder}], or encoder=resnet34.",
        ("output_stride", "dilated"): "this decoder needs an encoder that can be dilated, and no VGG, DenseNet or Swin "
        "can be. Write encoder=resnet34, or choose unet or fpn for this encoder.",
    }  # fmt: skip
    for words, sentence in reasons.items():
        if any(word.lower() in message.lower() for word in words):
            return sentence
    return f"{message}. Check its options; an encoder is {ANY}."


def _nearest(encoder: str) -> str:
    """The encoders whose names are most like one that does not exist."""
    import segmentation_models_pytorch as smp
    import timm

    known = [*smp.encoders.encoders, *(f"tu-{name}" for name in timm.list_models())]
    close = difflib.get_close_matches(encoder, known, n=2, cutoff=0.6)
    return f" Did you mean {' or '.join(close)}?" if close else ""
