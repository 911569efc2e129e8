"""The organization's wishes to be told, and the telling.

Nouns: `AlertRule` (when), `Channel` (where to: one slice of `channels/` each), `Alert` (it happened: one per rule,
subject, window and threshold), `Delivery` (one alert on its way to one channel). One rule: everything that is to be
said is a row before anybody tries to say it, so that neither a lost broker message nor a receiver that was down loses
anything.
"""
