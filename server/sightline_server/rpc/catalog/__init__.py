"""`sightline.v1.CatalogService`: products are written while they are searched."""
