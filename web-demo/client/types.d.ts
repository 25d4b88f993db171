/**
 * The shapes that cross the voice socket (`/v1/voice/ws`), and what the client tells its page.
 * Times are whole milliseconds unless a name says otherwise. A reader ignores fields it does not know.
 */

// ---------------------------------------------------------------------------------------------- settings of a session

export interface TurnDetection {
  /** `auto`: the server finds the end of a turn. `push_to_talk`: only `voice.commit` ends it. */
  type?: 'auto' | 'push_to_talk';
  threshold?: number;
  min_silence_ms?: number;
  min_wait_ms?: number;
  max_wait_ms?: number;
  eagerness?: 'low' | 'auto' | 'high';
  interruptible?: boolean;
  interrupt_after_ms?: number;
}

export interface OutputSettings {
  modalities?: ('audio' | 'text')[];
  voice?: string;
  rate?: number;
  captions?: boolean;
  visemes?: boolean;
}

export interface AccessibilitySettings {
  patience?: 'normal' | 'patient' | 'very_patient' | 'never';
  captions?: boolean;
  simple_language?: boolean;
}

export type LatencyStage = 'connect' | 'endpoint' | 'stt' | 'agent' | 'tts' | 'egress' | 'total' | 'barge_in';

export interface LatencyBudgetSettings {
  profile?: 'embedded' | 'azure' | 'telephony' | 'accessibility' | null;
  stages?: Partial<Record<LatencyStage, { target_ms?: number; deadline_ms?: number; on_breach?: string[] }>>;
}

/** What may change while a session runs (`voice.update`). */
export interface SessionUpdate {
  turn_detection?: TurnDetection;
  output?: OutputSettings;
  accessibility?: AccessibilitySettings;
  /** Within what `GET /v1/latency-budgets` permits; `null`: as the operator has it. */
  latency_budget?: LatencyBudgetSettings | null;
}

/** What a session is asked to be (`voice.start`); the codec, rates and `binary` are the client's own business. */
export interface SessionSettings extends SessionUpdate {
  agent_id?: string;
  locale?: string;
  mode?: 'byok' | 'managed' | 'embedded';
}

// ----------------------------------------------------------------------------------------------------- client -> server

export type ClientMessage =
  | ({ type: 'voice.start'; codec: 'pcm16'; sample_rate: number; binary: true } & SessionSettings)
  | { type: 'session.resume'; session_id: string; last_event_id: number }
  | ({ type: 'voice.update' } & SessionUpdate)
  | { type: 'voice.chunk'; bytes_base64: string }
  | { type: 'voice.commit' }
  | { type: 'voice.cancel'; request_id?: string }
  | { type: 'voice.played'; request_id: string; audio_ms: number }
  | { type: 'voice.stop' }
  | { type: 'chat.start'; request_id: string; prompt: string };

// ----------------------------------------------------------------------------------------------------- server -> client

interface ServerMessageBase {
  event_id: number;
  request_id: string;
  timestamp_ms: number;
}

export interface WireFormat {
  codec: string;
  sample_rate: number;
}

export interface SessionStarted extends ServerMessageBase {
  type: 'session.started';
  session_id: string;
  agent_id: string;
  /** The engine that answers, by stage. */
  capabilities: Record<string, string>;
  input?: WireFormat | null;
  output?: WireFormat | null;
  binary?: boolean;
  /** How long its turns may take, by name. */
  latency_budget?: { profile: string; version: string; enforced: boolean } | null;
}

export interface SessionResumed extends ServerMessageBase {
  type: 'session.resumed';
  session_id: string;
  missed_events: number;
}

export interface SessionDraining extends ServerMessageBase {
  type: 'session.draining';
  grace_ms: number;
}

export interface SpeechEdge extends ServerMessageBase {
  type: 'vad.speech_started' | 'vad.speech_stopped';
  utterance_id: number;
  at_ms: number;
}

export interface Transcript extends ServerMessageBase {
  type: 'transcript.partial' | 'transcript.final';
  utterance_id: number;
  /** The whole utterance so far. */
  text: string;
  start_ms: number;
  end_ms: number;
  language?: string | null;
  confidence?: number | null;
  /** Of a final one: it takes the place of the one before with this `utterance_id`. */
  corrected?: boolean;
}

export interface TurnStarted extends ServerMessageBase {
  type: 'turn.started';
  text: string;
  source: 'speech' | 'text' | 'announcement';
}

export interface ChatToken extends ServerMessageBase {
  type: 'chat.token';
  text: string;
}

export interface VoiceAudio extends ServerMessageBase {
  type: 'voice.audio';
  /** Absent in binary mode: then the message says where the binary frames after it belong. */
  bytes_base64?: string | null;
  audio_ms: number;
  start_ms: number;
}

/** The mouth shapes of the audio that follows; with `output.visemes` only. */
export interface VoiceVisemes extends ServerMessageBase {
  type: 'voice.visemes';
  visemes: { viseme_id: number; at_ms: number }[];
}

export interface VoiceAudioDone extends ServerMessageBase {
  type: 'voice.audio.done';
  audio_ms: number;
}

export interface Caption extends ServerMessageBase {
  type: 'caption';
  speaker: 'user' | 'agent';
  text: string;
  /** The user's count session time, the agent's the turn's audio. */
  start_ms: number;
  end_ms: number;
  final: boolean;
}

export interface VoiceInterrupted extends ServerMessageBase {
  type: 'voice.interrupted';
  heard_ms: number;
  heard_text: string;
  /** The reply is only held: `voice.resumed` follows, or another `voice.interrupted` that is final. */
  resumable: boolean;
}

export interface VoiceResumed extends ServerMessageBase {
  type: 'voice.resumed';
  from_ms: number;
}

export interface ToolCall extends ServerMessageBase {
  type: 'tool.call';
  call_id: string;
  name: string;
  arguments: string;
}

export interface ToolResult extends ServerMessageBase {
  type: 'tool.result';
  call_id: string;
  name: string;
  output: string;
  error: boolean;
}

export interface StageLatency {
  stage: 'endpoint' | 'stt' | 'agent' | 'tts' | 'egress' | 'total';
  start_ms: number;
  duration_ms: number;
  provider?: string | null;
  target_ms?: number | null;
  deadline_ms?: number | null;
}

export interface Breach {
  stage: StageLatency['stage'] | 'connect' | 'barge_in';
  action:
    'use_partial' | 'hedge' | 'fallback' | 'filler' | 'shorten' | 'text_only' | 'apologize' | 'fail' | 'none';
  limit_ms: number;
  after_ms: number;
}

export interface LatencyBreach extends ServerMessageBase, Breach {
  type: 'latency.breach';
}

export interface TurnLatency extends ServerMessageBase {
  type: 'turn.latency';
  stages: StageLatency[];
  breaches?: Breach[];
}

export interface Degraded {
  type: 'degraded';
  from: string;
  to: string;
  reason: string;
}

export interface BudgetWarning extends ServerMessageBase {
  type: 'budget.warning';
  scope: 'tenant' | 'user' | 'global';
  period: 'daily' | 'monthly';
  used_percent: number;
  message: string;
  consent?: 'needed' | 'given' | 'policy';
}

export interface Usage {
  in_tokens: number;
  out_tokens: number;
  tool_calls: number;
  audio_in_s: number;
  audio_out_s: number;
}

export interface ChatComplete extends ServerMessageBase {
  type: 'chat.complete';
  text: string;
  interrupted?: boolean;
  usage?: Usage;
  error_code?: string | null;
}

export interface ContentFiltered extends ServerMessageBase {
  type: 'content.filtered';
  stage: 'prompt' | 'completion';
  categories: { name: string; severity?: string | null }[];
}

export interface AudioQuality extends ServerMessageBase {
  type: 'audio.quality';
  issue: 'too_quiet' | 'clipping' | 'dc_offset' | 'silence';
  message: string;
  measures: Record<string, number>;
}

export interface Failure {
  type: 'error';
  code: string;
  message: string;
  retryable: boolean;
  details?: Record<string, unknown> | null;
  request_id?: string;
}

export type ServerMessage =
  | SessionStarted
  | SessionResumed
  | SessionDraining
  | SpeechEdge
  | Transcript
  | TurnStarted
  | ChatToken
  | VoiceAudio
  | VoiceVisemes
  | VoiceAudioDone
  | Caption
  | VoiceInterrupted
  | VoiceResumed
  | ToolCall
  | ToolResult
  | LatencyBreach
  | TurnLatency
  | (Degraded & ServerMessageBase)
  | BudgetWarning
  | ContentFiltered
  | ChatComplete
  | AudioQuality
  | (Failure & ServerMessageBase);

// ------------------------------------------------------------------------------------------------------ client -> page

/** What may carry a session. */
export type TransportKind = 'webrtc' | 'websocket';

/** `auto`: WebRTC where it can be had, else the WebSocket. `webrtc` falls back too, rather than to be silent. */
export type TransportPreference = 'auto' | TransportKind;

export interface Device {
  id: string;
  label: string;
}

export interface DeviceList {
  microphones: Device[];
  speakers: Device[];
}

/** Where the connection stands. `failed`: three attempts failed, text only. */
export type LinkState = 'closed' | 'connecting' | 'open' | 'reconnecting' | 'failed';

/** What is going on, in one word; a page has a sentence for each. */
export type Activity =
  | 'idle'
  | 'connecting'
  | 'listening'
  | 'hearing'
  | 'thinking'
  | 'speaking'
  | 'held'
  | 'muted'
  | 'push-to-talk'
  | 'ready'
  | 'reconnecting'
  | 'text-only';

/** How far the agent's audio of a turn has been heard. */
export interface Playback {
  requestId: string;
  heardMs: number;
  /** `drained`: heard to its end. `cleared`: cut off. */
  state: 'playing' | 'drained' | 'cleared';
  underruns: number;
}

/** Every event of `VoiceClient`, by type: its own, and each server message under its wire name. */
export type VoiceClientEvents = { [M in Exclude<ServerMessage, Degraded | Failure> as M['type']]: M } & {
  degraded: Degraded;
  error: Failure;
  activity: { activity: Activity };
  link: { state: LinkState; attempt: number };
  /** What carries the session from now on; and why it is not WebRTC, in a sentence, where that was tried. */
  transport: { transport: TransportKind; reason: string };
  /** The microphone was opened, closed, or is another one now. */
  microphone: { open: boolean; label: string };
  /** The devices there are: when they change, and once they have names. */
  devices: DeviceList;
  /** How far the agent's voice has been heard: every 50 ms, and when it ends. */
  playback: Playback;
  /** The microphone's level, 0 to 1 on a decibel scale, every 20 ms while it is open. */
  level: { level: number };
};

export interface VoiceClientOptions {
  /** The voice socket. Default: `/v1/voice/ws` of the page's origin. */
  url?: string | URL;
  /** Where WebRTC is agreed on. Default: `webrtc` beside the voice socket, such as `/v1/voice/webrtc`. */
  rtcUrl?: string | URL;
  /** Default: `auto`. `client.prefer(…)` changes it, also while a session runs. */
  transport?: TransportPreference;
  /** Where text goes when the socket cannot be had. Default: `/v1/chat/stream` of the page's origin. */
  chatUrl?: string | URL;
  /** The key to a server that asks for one. `client.apiKey = …` changes it for the next connection. */
  apiKey?: string;
  settings?: SessionSettings;
  /** The microphone to use, as `navigator.mediaDevices.enumerateDevices()` names it. */
  deviceId?: string;
  /** The loudspeaker to use, named in the same way. Browsers that cannot choose one use their own. */
  speakerId?: string;
  /** Waits before the attempts to connect again. As many attempts as waits, then text only. */
  retryDelaysMs?: readonly number[];
}

/** What carries messages and audio. One per connection; a new one is made for each attempt. */
export interface Transport {
  readonly kind: TransportKind;
  /** The agent's voice as a track; `null` where it comes in frames (`onaudio`). Known once `open` has resolved. */
  readonly voice: MediaStream | null;
  /** How much later than a message speech arrives that was sent at the same time. */
  readonly audioLagMs: number;
  onmessage: (message: ServerMessage) => void;
  onaudio: (samples: ArrayBuffer) => void;
  /** The way is blocked and being mended, or free again. */
  onstall: (stalled: boolean) => void;
  /** Called once, unless `close` or `detach` was called first. */
  onclose: (code: number, reason: string) => void;
  /** Resolves when messages can be sent; rejects when the connection fails. */
  open(): Promise<void>;
  send(message: ClientMessage): void;
  /** The next frame of the user's audio. Never blocks; drops the frame when the network cannot keep up, or a track carries it. */
  sendAudio(frame: ArrayBuffer): void;
  /** Frames that were kept while the session could not be reached. */
  sendKept(frames: ArrayBuffer[]): void;
  /** The user's audio as a track, for transports that carry one; `null` for none. */
  carry(track: MediaStreamTrack | null): void;
  /** Ends the session. */
  close(): void;
  /** Leaves the session to be resumed. */
  detach(): void;
}
