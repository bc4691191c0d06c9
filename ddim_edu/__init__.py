"""Denoising diffusion implicit models, a file a chapter.

Read upwards: ``schedule``, ``forward`` (1), ``posterior`` (2), ``sampler``, ``losses`` and ``exact`` (3).
Nothing is imported here, so that ``import ddim_edu`` costs nothing and each module says for itself what it needs.
"""

__version__ = "0.1.0"
