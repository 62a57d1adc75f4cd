"""Quotas: how much one caller may ask for, counted once for all workers of a server.

    quota     the bounds of one principal, as the policy file has them
    memory    the bytes that hold the counts, in one process or shared by workers
    buckets   what each key has used, in a table of fixed size
    quotas    the quota of a call: taken at its headers, charged for its messages, given back at its end
    keys      the secret keys under which pseudonyms are counted, made again each hour
    photos    the quota of the person behind a grant, by its pseudonym
Rule: a refusal needs no byte of the message where the headers suffice, and says when a new attempt makes sense.
"""
