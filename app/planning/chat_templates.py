"""Chat templates, as text: found beside a model, named in a recipe, or written out in it. Never rendered here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from app.planning.facts import ModelFacts
from app.planning.strict_json import BadJson, load_object
from app.recipe.findings import did_you_mean, refuse

CHAT_TEMPLATE = "chat_template.jinja"
_FIRST_SYSTEM = (
    "{%- set system = messages[0]['content'] if messages and messages[0]['role'] == 'system' else '' -%}\n"
    "{%- set talk = messages[1:] if system else messages -%}\n"
)

BUILT_IN: Mapping[str, str] = MappingProxyType(
    {
        "alpaca": _FIRST_SYSTEM + "{%- if system %}{{ system + '\\n\\n' }}{% endif -%}\n"
        "{%- for message in talk -%}\n"
        "{%- set title = 'Response' if message['role'] == 'assistant' else 'Instruction' -%}\n"
        "{{ '### ' + title + ':\\n' + message['content'] | trim }}\n"
        "{%- if message['role'] == 'assistant' %}{{ eos_token or '' }}{% endif -%}\n"
        "{{ '\\n\\n' }}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt %}{{ '### Response:\\n' }}{% endif -%}\n",
        "chatml": "{%- for message in messages -%}\n"
        "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif -%}\n",
        "exaone": "{%- for message in messages -%}\n"
        "{{ '[|' + message['role'] + '|]' + message['content'] }}\n"
        "{%- if message['role'] != 'user' %}{{ '[|endofturn|]' }}{% endif -%}\n"
        "{{ '\\n' }}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt %}{{ '[|assistant|]' }}{% endif -%}\n",
        "llama3": "{{- bos_token or '' -}}\n"
        "{%- for message in messages -%}\n"
        "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}\n"
        "{{- message['content'] | trim + '<|eot_id|>' }}\n"
        "{%- endfor -%}\n"
        "{%- if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif -%}\n",
        "mistral": _FIRST_SYSTEM + "{{- bos_token or '' -}}\n"
        "{%- for message in talk -%}\n"
        "{%- if message['role'] == 'assistant' %}{{ ' ' + message['content'] | trim + (eos_token or '') }}\n"
        "{%- else %}{{ '[INST] ' + (system + '\\n\\n' if system and loop.first else '') }}\n"
        "{{- message['content'] + ' [/INST]' }}{% endif -%}\n"
        "{%- endfor -%}\n",
    }
)
"""Ways to write a conversation that a recipe can name."""


def chosen_template(wish: str, parents: Sequence[ModelFacts]) -> str | None:
    """The text of the chat template wished for; None when ``auto`` finds none. Raises Refused for an unknown name."""
    if wish == "auto":
        found = Counter(text.strip() for facts in parents if (text := chat_template_of(facts)))
        return found.most_common(1)[0][0] if found else None
    if wish in BUILT_IN:
        return BUILT_IN[wish]
    if "{" not in wish:
        raise refuse(
            "chat-template-not-supported", "chat_template", f'There is no chat template called "{wish[:40]}" here.',
            did_you_mean(wish, ("auto", *BUILT_IN))
            or f"Write auto, {', '.join(BUILT_IN)}, or the template itself; without the key the result keeps its "
            "first parent's.",
        )  # fmt: skip
    return wish


def chat_template_of(facts: ModelFacts) -> str | None:
    """A model's chat template, as text; it is never rendered here."""
    template = facts.texts.get(CHAT_TEMPLATE)
    if template is not None:
        return template
    try:
        found = load_object(facts.texts.get("tokenizer_config.json", "{}").encode(), infinite=True).get("chat_template")
    except (BadJson, UnicodeEncodeError):
        return None
    if isinstance(found, list):
        named = {one.get("name"): one.get("template") for one in found if isinstance(one, dict)}
        found = named.get("default")
    return found if isinstance(found, str) else None
