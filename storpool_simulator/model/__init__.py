"""The rules: what a cluster has and what each request does to it. Nothing here knows HTTP."""
