"""The client of CatalogService: products written and read, revisions, and catalogs made and removed."""
