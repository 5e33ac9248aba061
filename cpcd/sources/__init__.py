"""Outside change → view and queue: what is read on demand (`reading`), watched (`observer`) and committed (`specs`)."""
