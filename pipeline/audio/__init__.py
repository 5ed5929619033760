"""Audio on its way in: Kafka records, files and pipes to chunks of PCM.

`decoding.py` makes a record a chunk, or says why it is none; `raw_chunks.py` does so for producers without
Avro. `audio_decoding.py` (FLAC, Ogg Opus, G.711) and `resampling.py` make PCM of it at the rate that is asked
for. `audio_file.py` and `audio_pipe.py` are the sources of `medstream transcribe`.
"""
