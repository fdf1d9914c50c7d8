"""From the body of a request to a Query: its parameters (``request``), conditions on calls (``conditions``) and on the
date (``dates``). Nothing in this package reads counts or knows accounts.
"""
