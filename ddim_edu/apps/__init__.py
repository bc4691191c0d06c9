"""What a deterministic diffusion model lets one do (chapters 12 to 14). Nothing here has a sampler of its own."""
