"""What pages are made of, for every kind of reader: wording, figures, charts, periods, recipes. It knows no theme."""
