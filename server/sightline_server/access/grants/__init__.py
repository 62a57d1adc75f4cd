"""Consent grants: a signed statement that a person started this search of this one photo for this purpose.

    text -> signature, type, audience, times, purpose -> catalog -> photo -> used once
Rule: a grant is checked whole before a pixel is decoded, and used up after everything else allowed the call. Nothing
here keeps a photo, and nothing of a grant is part of an error, a log line or the text of a record.
"""
