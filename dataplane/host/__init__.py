"""What runs on one machine: a pod's process, or several of them behind one port.

Nouns: process (one pod from its settings to its last usage record), workers (as many pods as cores, and the small
parent that keeps them), siblings (what one of them says for all), certificate (the one that clients see).
One rule: nothing here touches a request.
"""
