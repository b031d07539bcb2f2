"""Training frameworks: what each of them needs so that the optimizer sees the training loss, one file each.

A file imports its framework and is imported by nobody but the user: `groktimizer.integrations.lightning` for Lightning,
`groktimizer.integrations.transformers` for the Hugging Face Trainer. The others (accelerate, Ignite, skorch) need one
line or none, see docs/in-your-loop.md.
"""
