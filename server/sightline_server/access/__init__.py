"""Access: who calls and what the caller may use, decided before a request is validated, and audited as it is decided.

Rule: no gRPC, and no content of a request except the catalog and the lane that it names. Only the modules of this
package make a `CatalogPass`, and a catalog is leased with one, so code that forgets the check does not type-check.
"""
