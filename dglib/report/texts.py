"""The page's fixed words."""

BACKGROUND = [
    "Each training step mixes two normalised gradients of the same batch: one under noisy labels"
    " (structure) and one under clean labels (value), with weight λ on the value gradient. The test error"
    " may depend not only on λ but also on the way there: a network trained at small λ stays ordered, with"
    " low error, as λ is raised, until it collapses at some λ↑; a collapsed one recovers only when λ has"
    " been lowered to some λ↓ below that, or never. The width λ↑ − λ↓ measures this hysteresis.",
    "Ordered: low error. Collapsed: high error, but better than chance. Trapped: one class predicted for"
    " everything, for long. Diverged: outputs that are not finite. Dwell time: epochs at each λ of a"
    " sweep. A seed is one training from one random start; every seed is shown.",
]
LOOP_READING = (
    "Above, thin lines are seeds and thick ones medians, with arrows in the direction of the sweep. Below,"
    " each bar is a seed and spans the levels between which its threshold lies; an arrowhead means that"
    " the sweep ended before it was found. Where the ways up and down lie apart at one λ, the network"
    " remembers where it came from."
)
LAG_READING = (
    "A network has a limited time at each λ. Where the width shrinks with longer dwell times, that part of"
    " it was lag; where it does not, it is memory at least on these time scales."
)
LAG_REFUSED = (
    "There are runs at several dwell times or learning rates, but they also differ in {}, so their widths"
    " are not held against each other."
)
DWELL_CAPTION = "Width against dwell time, and the slowest sweep against training from scratch at each λ"
COLUMNS = (
    "“Lies” gives the levels between which a threshold is. “Bit for bit”: whether all of the seed was"
    " computed with the same numerics, so that the same machine gives the same bits again. A dash: not"
    " measured, or not on record."
)
GRID_MAP_READING = (
    "In each cell, the median over its seeds, which its shade repeats, and how many seeds came to which end."
    " Of a threshold the median is known by its bounds: between two levels, or beyond one (> or <). Thick"
    " lines part cells in which half of the seeds came to different ends, or passed them. Values stand at"
    " equal distances, whatever they are."
)
GRID_CURVE_READING = (
    "Above, each mark is a seed, and the broad line joins the medians. An arrowhead stands for a value of"
    " which only a bound is known: it lies beyond. Below, the share of the seeds that came to each end."
    " Values stand at equal distances, whatever they are."
)
GRID_TOO_MANY = "More combinations than maps would hold: see the table."
GRID_TABLE_READING = (
    "For each end: how many seeds came to it and, in brackets, the 95 % interval of their share among such"
    " seeds (Clopper and Pearson)."
)
GRID_NOTHING = "No seed has finished."
