"""Offers as clients write them, shortened: what differs between them is what is kept."""

from __future__ import annotations

SHA256 = ":".join(["A1"] * 32)

CHROME = f"""v=0
o=- 4145970587448758286 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0 1
a=extmap-allow-mixed
a=msid-semantic: WMS f9e623ed
m=audio 34837 UDP/TLS/RTP/SAVPF 111 63 9 0 8 13 110 126
c=IN IP4 192.0.2.2
a=rtcp:9 IN IP4 0.0.0.0
a=candidate:1195285070 1 udp 2122194687 192.0.2.2 34837 typ host generation 0 network-id 1
a=candidate:2231007452 1 udp 2122260223 7ae1a8b5-9ba0-4e8e-8f0a-0f6ac9d41b9f.local 34838 typ host generation 0
a=candidate:972126422 1 tcp 1518214911 192.0.2.2 9 typ host tcptype active generation 0 network-id 1
a=ice-ufrag:tRFa
a=ice-pwd:NuVqe0Loq4YY5cdMwMD9mHv8
a=ice-options:trickle
a=fingerprint:sha-256 {SHA256}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
a=sendrecv
a=msid:f9e623ed bdea8ea1
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1
a=rtpmap:63 red/48000/2
a=fmtp:63 111/111
a=rtpmap:9 G722/8000
a=rtpmap:126 telephone-event/8000
a=ssrc:3180050910 cname:6Y+Gq/hSbrzGBm7g
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=ice-ufrag:tRFa
a=ice-pwd:NuVqe0Loq4YY5cdMwMD9mHv8
a=fingerprint:sha-256 {SHA256}
a=setup:actpass
a=mid:1
a=sctp-port:5000
a=max-message-size:262144
"""

FIREFOX = f"""v=0
o=mozilla...THIS_IS_SDPARTA-99.0 5214853712186519218 0 IN IP4 0.0.0.0
s=-
t=0 0
a=fingerprint:sha-256 {SHA256}
a=group:BUNDLE 0 1
a=ice-options:trickle
a=msid-semantic:WMS *
m=audio 49876 UDP/TLS/RTP/SAVPF 109 9 0 8 101
c=IN IP4 192.0.2.7
a=candidate:0 1 UDP 2122252543 192.0.2.7 49876 typ host
a=candidate:2 1 TCP 2105524479 192.0.2.7 9 typ host tcptype active
a=sendrecv
a=end-of-candidates
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=extmap:3/sendonly urn:ietf:params:rtp-hdrext:sdes:mid
a=fmtp:109 maxplaybackrate=48000;stereo=1;useinbandfec=1
a=fmtp:101 0-15
a=ice-pwd:d6fa7d96a1d2a0e8e0c5b2f2b0a4f0c1
a=ice-ufrag:3c5a6d91
a=mid:0
a=msid:{{c0a2}} {{9f7d}}
a=rtcp-mux
a=rtpmap:109 opus/48000/2
a=rtpmap:101 telephone-event/8000
a=setup:actpass
a=ssrc:1044398171 cname:{{1f5b}}
m=application 36712 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 192.0.2.7
a=sendrecv
a=ice-pwd:d6fa7d96a1d2a0e8e0c5b2f2b0a4f0c1
a=ice-ufrag:3c5a6d91
a=mid:1
a=setup:actpass
a=sctp-port:5000
a=max-message-size:1073741823
"""

SAFARI = f"""v=0
o=- 2466364434402011190 2 IN IP4 127.0.0.1
s=-
t=0 0
a=group:BUNDLE 0
a=extmap-allow-mixed
a=msid-semantic: WMS
m=audio 9 UDP/TLS/RTP/SAVPF 111 63 103 9 102 0 8 105 13 110 113 126
c=IN IP4 0.0.0.0
a=rtcp:9 IN IP4 0.0.0.0
a=ice-ufrag:uAMK
a=ice-pwd:8UqX1fAIlTqTFHGmVMNRxv4L
a=ice-options:trickle
a=fingerprint:sha-256 {SHA256}
a=setup:actpass
a=mid:0
a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level
a=recvonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=rtcp-fb:111 transport-cc
a=fmtp:111 minptime=10;useinbandfec=1;maxaveragebitrate=16000;usedtx=1
a=rtpmap:103 ISAC/16000
"""

PION = f"""v=0
o=- 7228925573461843826 1703000000 IN IP4 0.0.0.0
s=-
t=0 0
a=msid-semantic:WMS*
a=fingerprint:sha-256 {SHA256}
a=extmap-allow-mixed
a=group:BUNDLE 0 1
m=application 9 UDP/DTLS/SCTP webrtc-datachannel
c=IN IP4 0.0.0.0
a=setup:actpass
a=mid:0
a=sendrecv
a=sctp-port:5000
a=max-message-size:1073741823
a=ice-ufrag:CzUvCxQgQwmwrZjJ
a=ice-pwd:dQxLJRpWzFbpBoPnZwTDnzVbhSIFITkQ
m=audio 9 UDP/TLS/RTP/SAVPF 96
c=IN IP4 0.0.0.0
a=setup:actpass
a=mid:1
a=ice-ufrag:CzUvCxQgQwmwrZjJ
a=ice-pwd:dQxLJRpWzFbpBoPnZwTDnzVbhSIFITkQ
a=rtcp-mux
a=rtcp-rsize
a=rtpmap:96 OPUS/48000/2
a=fmtp:96 minptime=10
a=ssrc:1505338584 cname:pion
a=sendonly
a=candidate:foundation 1 udp 2130706431 192.0.2.9 46041 typ host
a=end-of-candidates
"""
