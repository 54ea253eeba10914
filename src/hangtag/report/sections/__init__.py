"""What each part of the report shows, made of metrics.json and a run's files; the templates beside say how it looks.

Any key that an older evaluation, or one without probabilities, did not write may be absent: its part is then left out.
"""
