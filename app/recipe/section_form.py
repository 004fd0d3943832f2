"""The form over one section of a recipe: its fields go in there, the name of the whole into the last document.

Further fields: ``document`` (the section that the page shows), ``document.name`` (what its document is called).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.recipe import form
from app.recipe.findings import Finding, Refused
from app.recipe.schema import Recipe
from app.recipe.sections import Section, alone, moved, put


def apply(recipe: Recipe, section: Section, fields: Mapping[str, str]) -> tuple[Recipe, Section, tuple[Finding, ...]]:
    """The recipe with the form's fields put in, where the section is then, and what could not be read."""
    before = alone(recipe, section)
    if section.document == len(recipe.stages):
        edited, findings = form.apply(before, fields)
        return put(recipe, section, edited), section, findings
    own = {name: text for name, text in fields.items() if name != "name"}
    if "document.name" in fields:
        own["name"] = fields["document.name"]
    edited, findings = form.apply(before, own)
    try:
        whole = put(recipe, section, edited)
    except Refused as problem:
        edited = replace(edited, name=before.name)
        whole, findings = put(recipe, section, edited), (*findings, *problem.findings)
    if "name" in fields:
        whole = replace(whole, name=fields["name"].strip()[:120] or None)
    return whole, moved(whole, section, edited.name), findings
