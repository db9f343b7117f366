"""The table of families: model types of transformers, and what of their configuration `small_fields` cannot guess.

`overrides` replaces fields of the configuration. Names of the other table are `inputs`: the shape of an argument of the
forward that does not follow from the configuration ("ids" stands for token ids).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.coverage.pool import Task

LANGUAGE = """
albert apertus apertus1p5_text arcee bamba bart bert bert-generation big_bird bigbird_pegasus biogpt bitnet
blenderbot blenderbot-small bloom camembert canine codegen cohere cohere2 convbert cpmant ctrl cwm
data2vec-text deberta deberta-v2 deepseek_v2 deepseek_v3 diffllama distilbert dpr electra
embedding_gemma2_text ernie ernie4_5 esm esmc eurobert exaone exaone4 falcon falcon_h1 falcon_mamba flaubert
fnet fsmt gemma gemma2 gemma3_text gemma3n_text gemma4_unified_text glm glm4 glm4v_text gpt-sw3 gpt2
gpt_bigcode gpt_neo gpt_neox gpt_neox_japanese gptj granite granite_docling_text granite_swa gte helium
hrm_text hunyuan_v1_dense ibert internlm3 iquestcoder jais2 jina_embeddings_v3 layoutlm led lfm2 lfm3 lilt
llama longformer longt5 luke m2m_100 mamba mamba2 marian markuplm mbart megatron-bert minicpm3 ministral
ministral3 mistral mobilebert modernbert modernbert-decoder molmo2_text mpnet mpt mra mt5 muse_glimmer_text
mvp nanochat nemotron neomme nomic_bert nystromformer olmo olmo2 olmo3 olmo_hybrid openai-gpt opt pegasus
pegasus_x persimmon phi phi3 plbart prophetnet qwen2 qwen2_5_vl_text qwen2_vl_text qwen3 qwen3_5_text
qwen3_vl_text recurrent_gemma rembert roberta roberta-prelayernorm roc_bert roformer rwkv seed_oss smollm3
splinter squeezebert stablelm starcoder2 t5 t5gemma tapas tipsv2_text_model ultrabert umt5 vaultgemma
visual_bert xglm xlm xlm-roberta xlm-roberta-xl xlnet xlstm yoso
"""
VISION = """
aimv2_vision_model beit bit chinese_clip_vision_model clip_vision_model convnext convnextv2 cvt
data2vec-vision deit dinov2 dinov2_with_registers dinov3_convnext dinov3_vit donut-swin dory dpt
efficientnet focalnet glpn granite_docling_vision hgnet_v2 hiera idefics3_vision ijepa imagegpt
internvl_vision levit maskformer-swin mgp-str mlcd_vision_model mobilenet_v1 mobilenet_v2 mobilevit
mobilevitv2 pixio pixtral poolformer pvt pvt_v2 qianfan_ocr_vision radio regnet resnet sam2_vision_model
sam3_vit_model sam_hq_vision_model sam_vision_model sapiens2 segformer siglip_vision_model smolvlm_vision
swiftformer swin swin2sr swinv2 textnet tipsv2_vision_model videoprism_vision_model vit vit_mae vit_msn
vitdet vjepa2 yolos
"""
AUDIO = """
audio-spectrogram-transformer data2vec-audio fastspeech2_conformer glmasr_encoder hubert moonshine
parakeet_encoder sew sew-d unispeech unispeech-sat univnet vits voxtral_realtime_encoder wav2vec2
wav2vec2-bert wav2vec2-conformer wavlm whisper
"""
PAIRS = """
align altclip blip chinese_clip clap clip clip_text_model clipseg flava git groupvit metaclip_2 mllama owlv2
owlvit siglip tipsv2 vilt
"""
ROUTED = """
afmoe aria aria_text beam cohere2_moe deepseek_v4 doge ernie4_5_moe exaone_moe flex_olmo flint glm4_moe
gpt_oss granitemoe granitemoe_swa granitemoeshared hy_v3 hy_v4 inkling2 jamba jetmoe kolibri1 laguna
lara_mini llama4_text longcat_flash mellum mimo_v2_flash minimax minimax_m2 minimax_m3_vl mixtral nllb-moe
olmoe openai_privacy_filter phimoe qwen2_moe qwen3_moe
"""
FAMILIES: tuple[str, ...] = tuple(sorted(" ".join((LANGUAGE, VISION, AUDIO, PAIRS, ROUTED)).split()))

_ODD = """
albert apertus arcee bart beit bert biogpt bloom camembert clip_text_model clip_vision_model cohere convbert
ctrl data2vec-text deberta-v2 deit dinov2 distilbert dpr electra ernie eurobert exaone falcon flaubert gemma
gemma2 gemma3_text glm gpt2 gpt_bigcode gpt_neox gptj granite gte helium ijepa llama m2m_100 marian mbart
megatron-bert mistral modernbert mpnet mpt mvp nanochat olmo olmo2 openai-gpt opt pegasus phi phi3 qwen2
qwen3 radio rembert resnet roberta roformer segformer siglip_vision_model smollm3 splinter squeezebert
stablelm starcoder2 t5 umt5 vit vit_mae vit_msn wav2vec2 xglm xlm xlm-roberta yolos
"""
ODD = frozenset(_ODD.split())
"""Families that are tried at odd sizes too: the common ones whose fields leave the choice."""

_FOUR_STAGES = {"image_size": 64, "hidden_sizes": [16, 32, 48, 64], "depths": [1, 1, 1, 1]}
_WINDOWS = {
    "embed_dim": 32,
    "num_heads": [2, 4],
    "depths": [2, 1],
    "image_size": 32,
    "patch_size": 4,
    "window_size": 4,
}
_LATENT = {"num_key_value_heads": 4, "head_dim": 16}
_SECTIONS = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
_STATES = {"mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_chunk_size": 8}
_WAVES = {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "conv_dim": [32] * 7}

OVERRIDES: dict[str, dict[str, Any]] = {
    "audio-spectrogram-transformer": {"max_length": 64, "num_mel_bins": 32},
    "bamba": _STATES,
    "bit": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 1], "num_groups": 8},
    "clap": {
        "audio_config": {
            "depths": [1, 1],
            "num_attention_heads": [2, 4],
            "patch_embeds_hidden_size": 32,
            "hidden_size": 64,
            "spec_size": 64,
            "num_mel_bins": 16,
            "window_size": 4,
        }
    },
    "codegen": {"rotary_dim": 8},
    "convnext": _FOUR_STAGES,
    "convnextv2": _FOUR_STAGES,
    "cvt": {
        "embed_dim": [16, 32, 48],
        "num_heads": [1, 2, 3],
        "depth": [1, 1, 1],
        "image_size": 64,
        "patch_sizes": [7, 3, 3],
        "drop_path_rate": [0.0, 0.0, 0.0],
        "cls_token": [False, False, True],
    },
    "deepseek_v2": _LATENT
    | {"topk_method": "group_limited_greedy", "num_experts_per_tok": 2, "n_group": 4, "topk_group": 2},
    "deepseek_v3": _LATENT,
    "dinov3_convnext": _FOUR_STAGES,
    "donut-swin": _WINDOWS,
    "efficientnet": {
        "width_coefficient": 1.0,
        "depth_coefficient": 1.0,
        "in_channels": [32, 16],
        "out_channels": [16, 24],
        "kernel_sizes": [3, 5],
        "depthwise_padding": [],
        "strides": [1, 2],
        "num_block_repeats": [1, 2],
        "expand_ratios": [1, 6],
        "hidden_dim": 1280,
        "image_size": 32,
    },
    "esm": {"vocab_size": 128, "pad_token_id": 1, "mask_token_id": 32, "position_embedding_type": "rotary"},
    "falcon_h1": _STATES | {"mamba_d_ssm": 128, "mamba_d_state": 16},
    "focalnet": {
        "embed_dim": 32,
        "depths": [1, 1],
        "hidden_sizes": [32, 64],
        "focal_levels": [2, 2],
        "focal_windows": [3, 3],
        "patch_size": 4,
    },
    "gemma3n_text": {
        "num_kv_shared_layers": 0,
        "layer_types": ["sliding_attention", "full_attention"],
        "altup_num_inputs": 2,
        "laurel_rank": 16,
        "hidden_size_per_layer_input": 32,
    },
    "glm4v_text": {"rope_parameters": _SECTIONS},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]], "window_size": 8},
    "gptj": {"rotary_dim": 8},
    "hgnet_v2": {
        "image_size": 64,
        "embedding_size": 16,
        "depths": [1, 1],
        "hidden_sizes": [32, 64],
        "stem_channels": [3, 16, 16],
        "stage_in_channels": [16, 32],
        "stage_mid_channels": [16, 16],
        "stage_out_channels": [32, 64],
        "stage_num_blocks": [1, 1],
        "stage_downsample": [False, True],
        "stage_light_block": [False, True],
        "stage_kernel_size": [3, 5],
        "stage_numb_of_layers": [2, 2],
    },
    "hiera": {"image_size": [64, 64]},
    "hunyuan_v1_dense": {"head_dim": 16},
    "levit": {"image_size": 64, "patch_size": 16, "depths": [1, 1, 1]},
    "lilt": {"hidden_size": 96},
    "mamba2": {"num_heads": 8, "head_dim": 16, "n_groups": 1, "state_size": 16, "chunk_size": 8},
    "maskformer-swin": _WINDOWS,
    "mgp-str": {
        "max_token_length": 8,
        "image_size": (32, 64),
        "num_wordpiece_labels": 64,
        "num_bpe_labels": 64,
    },
    "minicpm3": {"num_key_value_heads": 4, "head_dim": 16},
    "ministral": {"head_dim": 16},
    "mobilevit": {
        "image_size": 64,
        "patch_size": 2,
        "hidden_sizes": [24, 32, 40],
        "neck_hidden_sizes": [16, 16, 24, 24, 32, 32, 64],
    },
    "mobilevitv2": {"image_size": 64, "patch_size": 2},
    "nemotron": {"num_attention_heads": 4, "head_dim": 16},
    "parakeet_encoder": {"num_mel_bins": 80},
    "poolformer": _FOUR_STAGES,
    "pvt": {"image_size": 64, "hidden_sizes": [16, 32, 80, 64], "depths": [1, 1, 1, 1]},
    "qwen2_5_vl_text": {"rope_parameters": _SECTIONS},
    "qwen2_vl_text": {"rope_parameters": _SECTIONS},
    "regnet": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2], "groups_width": 16},
    "resnet": {"embedding_size": 16, "hidden_sizes": [32, 64], "depths": [1, 2]},
    "sam2_vision_model": {
        "backbone_config": {
            "model_type": "sam2_hiera_det_model",
            "image_size": [128, 128],
            "hidden_size": 16,
            "blocks_per_stage": [1, 1, 1, 1],
            "embed_dim_per_stage": [16, 32, 48, 64],
            "num_attention_heads_per_stage": [1, 2, 3, 4],
            "global_attention_blocks": [2],
            "window_positional_embedding_background_size": [4, 4],
        },
        "backbone_channel_list": [64, 48, 32, 16],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
    },
    "swin": _WINDOWS,
    "swin2sr": _WINDOWS | {"embed_dim": 64, "num_heads": [4, 4], "patch_size": 1, "image_size": 16},
    "swinv2": _WINDOWS,
    "textnet": {"image_size": 64},
    "univnet": {"model_hidden_channels": 16},
    "vjepa2": {
        "crop_size": 32,
        "image_size": 32,
        "frames_per_clip": 4,
        "pred_hidden_size": 64,
        "pred_num_attention_heads": 4,
        "pred_num_hidden_layers": 2,
    },
    "whisper": {"max_source_positions": 32},
    "yolos": {"image_size": [32, 48]},
} | dict.fromkeys(
    ("data2vec-audio", "hubert", "unispeech", "unispeech-sat", "wav2vec2", "wav2vec2-conformer", "wavlm"),
    _WAVES,
)

INPUTS: dict[str, dict[str, Any]] = {
    "audio-spectrogram-transformer": {"input_values": (1, 64, 32)},
    "clap": {"input_ids": "ids", "input_features": (1, 1, 256, 16)},
    "cvt": {"pixel_values": (1, 3, 64, 64)},
    "mobilenet_v1": {"pixel_values": (1, 3, 32, 32)},
    "moonshine": {"input_values": (1, 2000), "decoder_input_ids": "ids"},
    "parakeet_encoder": {"input_features": (1, 64, 80)},
    "pvt_v2": {"pixel_values": (1, 3, 64, 64)},
    "univnet": {"input_features": (1, 16, 100), "noise_sequence": (1, 16, 64)},
    "wav2vec2-bert": {"input_features": (1, 16, 160)},
    "whisper": {"input_features": (1, 80, 64), "decoder_input_ids": "ids"},
} | {
    name: {"input_ids": "ids", "pixel_values": (1, 3, 32, 32)}
    for name in PAIRS.split()
    if name not in ("clap", "clip_text_model", "git", "mllama", "tipsv2", "clipseg")
}

ELSEWHERE: dict[str, str] = {
    "Routed experts in models that torch.export takes too long for, or that need fields of their own": """
    bailing_hybrid dbrx deepseek_v32 dots1 glm4_moe_lite glm_moe_dsa granitemoehybrid hunyuan_v1_moe
    kimi_linear lfm2_moe mistral4 nemotron_h qwen3_5_moe qwen3_next qwen3_vl_moe qwen4_exp sarvam_mla
    sarvam_moe solar_open switch_transformers unlimited_ocr zaya""",
    "Need packages beside torch and transformers": """
    conditional_detr dab-detr deformable_detr detr dinat edgetam fast_vlm gemma3n gemma3n_vision
    higgs_audio_v2_tokenizer layoutlmv2 omdet-turbo perception_lm table-transformer timm_backbone
    timm_wrapper""",
    "An image or sound placed among the tokens of a language model; parts that are models are listed above": """
    audioflamingo3 aya_vision cohere2_vision deepseek_vl florence2 fuyu gemma3 glm4v got_ocr2 granite_speech
    idefics2 idefics3 internvl janus kosmos-2 llava llava_next llava_onevision mistral3 ovis2 paligemma
    phi4_multimodal pixtral_llava qwen2_5_vl qwen2_audio qwen2_vl qwen3_vl smolvlm video_llava vipllava
    voxtral""",
}
"""Families that this table leaves out, by reason."""


def tasks_of(families: Iterable[str]) -> list[Task]:
    """The configurations of some families."""
    return [
        Task(family, size, OVERRIDES.get(family, {}), INPUTS.get(family, {}))
        for family in families
        for size in (("usual", "odd") if family in ODD else ("usual",))
    ]
