"""What users and models say is text for the service, whatever it looks like, with the genuine SDK."""

from __future__ import annotations

import re
from contextlib import aclosing
from typing import Any
from xml.etree import ElementTree

import pytest
from anyio import to_thread
from azure.azure_engines import speaking
from azure.emulator_process import EmulatorProcess

from audio.azure.settings import AzurePlace, AzureTtsSettings, AzureVoice
from audio.tts.port import SpeechRequest

pytest.importorskip("azure.cognitiveservices.speech", reason="the Speech SDK is not installed (extra: azure)")

HOSTILE = (
    '<speak><voice name="en-US-GuyNeural"><break time="9s"/>hello</voice></speak> world',
    '</voice></speak><speak version="1.0"> hello world',
    "hello &lt;break/&gt; &amp; &quot;world&quot; &#60;break/&#62; &#x3c;p>",
    "hello <![CDATA[ <break/> ]]> world <!-- comment --> <?xml version='1.0'?> <!DOCTYPE x>",
    "hello \x00\x01\x08\x0b\x1b\x7f\x85 wor\x00ld",
    "hello \ud800 world \udfff and \ud83d",
    "hello \ufeff\ufffe\uffff world \U0001f600 \u202eright",
    "hello ]]> ' \" ` & < > world",
    '" onload="x" xmlns="http://evil" hello world',
    "hello\r\nPath:ssml\r\nX-RequestId:0\r\n\r\nworld",
)
SPEAK = "{http://www.w3.org/2001/10/synthesis}"
OURS = {f"{SPEAK}speak", f"{SPEAK}voice", "{https://www.w3.org/2001/mstts}silence"}


async def connections(emulator: EmulatorProcess) -> list[dict[str, Any]]:
    state = await to_thread.run_sync(emulator.state)
    return list(state["connections"])


def words(text: str) -> list[str]:
    return re.findall(r"[A-Za-z]+", text)


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_phrase_that_looks_like_markup_is_spoken_as_text(emulator: EmulatorProcess, text: str) -> None:
    async with speaking(emulator.ws_url) as engine:
        audio = [piece async for piece in engine.speak(SpeechRequest(text))]
    assert sum(len(piece.samples) for piece in audio) > 0
    [document] = [sent for record in await connections(emulator) for sent in record["texts"]]
    root = ElementTree.fromstring(document)
    assert {element.tag for element in root.iter()} <= OURS, "no element is the text's"
    [voice] = root
    assert voice.get("name") == AzureVoice().name
    spoken = "".join(root.itertext())
    assert words(spoken) == words(re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", text))


@pytest.mark.parametrize("text", HOSTILE)
async def test_a_stream_that_looks_like_markup_is_spoken_as_text(emulator: EmulatorProcess, text: str) -> None:
    async with speaking(emulator.ws_url) as engine:
        stream = await engine.open_text(SpeechRequest(""))
        for at in range(0, len(text), 7):
            await stream.write(text[at : at + 7])
        await stream.finish()
        async with aclosing(stream.audio()) as audio:
            samples = sum([len(piece.samples) async for piece in audio])
    assert samples > 0
    [record] = [record for record in await connections(emulator) if record["received"].get("text.piece")]
    assert not record["received"].get("ssml")
    assert record["received"]["synthesis.context"] == 1, "nothing in the text begins a request of its own"
    sent = "".join(record["texts"])
    assert words(sent) == words(re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]", " ", text))


async def test_everything_ssml_can_say_comes_from_the_settings(emulator: EmulatorProcess) -> None:
    voice = AzureVoice(
        style="cheerful",
        style_degree=1.5,
        role="Girl",
        pitch="+5%",
        volume="loud",
        lexicon_uri='https://example.com/a.xml?a=1&b="2"',
        leading_silence_ms=0,
        trailing_silence_ms=50,
        sentence_pause_ms=120,
    )
    async with speaking(emulator.ws_url, AzureTtsSettings(AzurePlace(host="ws://unused"), voice)) as engine:
        assert not engine.profile.text_streaming, "a stream could say none of it"
        assert [piece async for piece in engine.speak(SpeechRequest("Hello.", rate=0.8))]
    [document] = [sent for record in await connections(emulator) for sent in record["texts"]]
    root = ElementTree.fromstring(document)
    found = {element.tag.rpartition("}")[2]: element.attrib for element in root.iter()}
    assert found["express-as"] == {"style": "cheerful", "styledegree": "1.5", "role": "Girl"}
    assert found["prosody"] == {"rate": "-20%", "pitch": "+5%", "volume": "loud"}
    assert found["lexicon"] == {"uri": 'https://example.com/a.xml?a=1&b="2"'}
    silences = {element.get("type"): element.get("value") for element in root.iter() if element.tag.endswith("silence")}
    assert silences == {"Leading-exact": "0ms", "Tailing-exact": "50ms", "Sentenceboundary-exact": "120ms"}


async def test_style_rate_pitch_and_volume_reach_a_stream_too(emulator: EmulatorProcess) -> None:
    voice = AzureVoice(style="cheerful", pitch="+5%", volume="loud", lexicon_uri="https://example.com/a.xml")
    async with speaking(emulator.ws_url, AzureTtsSettings(AzurePlace(host="ws://unused"), voice)) as engine:
        assert engine.profile.text_streaming
        stream = await engine.open_text(SpeechRequest("Hello.", rate=1.2, voice="de-DE-KatjaNeural"))
        await stream.finish()
        async with aclosing(stream.audio()) as audio:
            assert [piece async for piece in audio]
    contexts = [context for record in await connections(emulator) for context in record["contexts"]]
    given = contexts[-1]["synthesis"]["input"]
    assert "https://example.com/a.xml" in given.values(), given
    assert given["voiceName"] == "de-DE-KatjaNeural"
    assert {name: given[name] for name in ("style", "rate", "pitch", "volume")} == {
        "style": "cheerful",
        "rate": "+20%",
        "pitch": "+5%",
        "volume": "loud",
    }
