"""Recipes behind links."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "shared_recipe",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("forked_from", sa.String(length=16), nullable=True),
        sa.Column("shared_at", sa.Double(), nullable=False),
        sa.ForeignKeyConstraint(["forked_from"], ["shared_recipe.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("hash"),
    )
    op.create_index("shared_recipe_by_age", "shared_recipe", ["shared_at"])


def downgrade() -> None:
    op.drop_table("shared_recipe")
