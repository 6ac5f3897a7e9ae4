"""What `serve` says when it serves."""

_BODY = """-H 'Content-Type: application/json' -d '{"name": "Ada", "type": "assistant"}'"""


def welcome(url: str, key_file: str | None) -> str:
    """Tell a person where to go next; programs find the address in the first line."""
    lines = [f"AIMatrix Hub serves on {url}"]
    key = "$KEY"
    if key_file is not None:
        lines.append(f"The first key is in {key_file} (organisation default, every scope)")
        key = f"$(cat {key_file})"
    lines += [
        f"Open {url}/ to watch what happens, then try:",
        f'  curl {url}/v2/agents -H "Authorization: Bearer {key}" ' + _BODY,
    ]
    return "\n".join(lines)
