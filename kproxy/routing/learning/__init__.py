"""Training and judging a router. Needs numpy (`pip install 'kproxy[train]'`); serving does not."""
