"""How good the restored images and how realistic the synthetic defects are."""
