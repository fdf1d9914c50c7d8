"""Time arithmetic: windows and days (``calendar``), steps of a chart (``steps``). And where an account's counts are
kept: cells (``cell``), the spans that hold them (``span``, ``spans``; saved ones are put back by ``restoring``), and
sums of cells (``sums``).
"""
