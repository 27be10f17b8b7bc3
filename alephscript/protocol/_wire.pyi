# What is compiled has the types of what is pure.
from alephscript.protocol.json import (
    is_plain as is_plain,
    is_shallow_utf8 as is_shallow_utf8,
    write_json as write_json,
    write_plain_json as write_plain_json,
)
from alephscript.protocol.packets import (
    parse_packet as parse_packet,
    split_event as split_event,
    split_values as split_values,
    write_numbered as write_numbered,
)
from alephscript.protocol.websocket import (
    FrameReader as FrameReader,
    write_masked_text_frame as write_masked_text_frame,
    write_text_frame as write_text_frame,
)

__source__: str
