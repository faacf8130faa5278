"""One file per way to draw the networks on which shared weights are trained.

Each is a function `step(student, batch, progress, rng)` that lets the student learn from one batch, on one or several
networks, and returns the mean loss; the weights move once after it. `progress` goes from 0 to 1 over all lessons.
"""
