"""Many fields make one sample: which of them count, and what they amount to.

What a laboratory reports is of a slide, not of an image. This room reads the results of a
prediction, leaves out fields that should not be counted, and hands the counts to
`bccd_d2.evaluation.slide_counts`.
"""
