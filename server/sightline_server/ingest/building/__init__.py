"""The parts of a build, whose entry is `ingest/build.py`.

options, sources   what goes in: the feed, the options, and where images are read from
rows               feed rows -> embedded products, group by group; also for catalogs that are served
replaced           the catalog that was there before
report             what comes out
"""
