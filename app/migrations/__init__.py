"""The schema's history. ``app.db.migrate`` runs it at start."""
