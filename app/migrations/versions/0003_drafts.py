"""Drafts on the server; how deep the loom of a shared recipe is."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "draft",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("forked_from", sa.String(length=16), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("writer", sa.String(length=40), nullable=False),
        sa.Column("replaced", sa.Text(), nullable=True),
        sa.Column("saved_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["forked_from"], ["shared_recipe.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    op.create_index("draft_by_age", "draft", ["saved_at"])
    op.add_column("shared_recipe", sa.Column("layers", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("shared_recipe", "layers")
    op.drop_table("draft")
