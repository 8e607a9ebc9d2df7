"""What the documentation says of what a service keeps of its answers."""

import marshmallow as ma
from marshmallow import fields

CACHE_EXAMPLE = {
    "entries": 128,
    "size_bytes": 61_440,
    "limit_bytes": 67_108_864,
    "ttl_s": 3600.0,
    "hits": 960,
    "misses": 140,
    "coalesced": 35,
    "hit_ratio": 0.8727,
    "former_entries": 0,
}


class CacheShown(ma.Schema):
    """Counts are those of the entries that are there: what is removed takes its own with it."""

    entries = fields.Integer(required=True)
    size_bytes = fields.Integer(required=True)
    limit_bytes = fields.Integer(required=True, metadata={"description": "`cache_max_bytes` of the config"})
    ttl_s = fields.Float(
        required=True, allow_none=True, metadata={"description": "`cache_ttl_s` of the config; null: nothing is kept"}
    )
    hits = fields.Integer(required=True, metadata={"description": "Tasks and predictions answered by an entry"})
    misses = fields.Integer(required=True, metadata={"description": "Runs that made an entry, or made it anew"})
    coalesced = fields.Integer(required=True, metadata={"description": "Tasks that waited and shared such a run"})
    hit_ratio = fields.Float(required=True, allow_none=True, metadata={"description": "hits / (hits + misses)"})
    former_entries = fields.Integer(
        required=True, metadata={"description": "Of other versions of the model; they answer nothing"}
    )


class CacheCleared(ma.Schema):
    removed = fields.Integer(required=True, metadata={"description": "Entries"})
