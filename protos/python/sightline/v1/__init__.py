"""Version 1 of the contract: `lens_service`, `geometry` and `product`."""
