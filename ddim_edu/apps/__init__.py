"""What a deterministic diffusion model lets one do (floor 4; chapters 12 to 14). Nothing here has a sampler of its own."""
