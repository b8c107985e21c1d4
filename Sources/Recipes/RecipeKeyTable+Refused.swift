extension RecipeKey {
  /// Keys of TRL and transformers that affect speed, output or hardware there, but not the result.
  static let idleKeys: [RecipeKey] = [
    idle(
      "activations are float32, weights are float32 or as stored, and products accumulate in float32",
      "fp16", "bf16_full_eval", "fp16_full_eval", "fp16_opt_level", "fp16_backend", "half_precision_backend",
      "tf32", "bnb_4bit_compute_dtype", "bnb_4bit_quant_storage"),
    idle(
      "there is one attention implementation, and it keeps packed rows separate", "attn_implementation", "padding_free",
      "use_cache"),
    idle("batches have no padding", "pad_to_multiple_of", "padding_value"),
    idle("losses are always computed in fused chunks", "use_liger_kernel", "liger_kernel_config"),
    idle(
      "recomputed activations are always exact", "gradient_checkpointing_kwargs", "gradient_checkpointing_use_reentrant"
    ),
    idle("runs are always reproducible to the bit", "full_determinism"),
    idle(
      "`device` selects what to compute on", "use_mps_device", "use_ipex", "tpu_num_cores",
      "tpu_metrics_debug", "torch_empty_cache_steps"),
    idle(
      "rows are always read from the file as needed", "dataset_streaming", "streaming", "dataset_num_proc",
      "dataset_batch_size"),
    idle("columns that training does not use are ignored", "remove_unused_columns", "length_column_name"),
    idle(
      "batches are prepared without data loader workers", "dataloader_num_workers", "dataloader_pin_memory",
      "dataloader_persistent_workers", "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
      "dataloader_in_order"),
    idle("a loss that is not finite stops the run", "logging_nan_inf_filter"),
    idle(
      "logs and trainer_state.json always contain loss, gradient norm, learning rate, tokens and time",
      "include_num_input_tokens_seen", "include_tokens_per_second", "log_level", "log_level_replica",
      "log_on_each_node", "skip_memory_metrics", "project"),
    idle(
      "the validation loss is a mean over tokens, whatever the batches", "prediction_loss_only",
      "eval_do_concat_batches",
      "eval_use_gather_object", "eval_accumulation_steps", "batch_eval_metrics", "use_legacy_prediction_loop",
      "include_inputs_for_metrics", "jit_mode_eval"),
    idle("sft always trains; `eval_strategy` sets when to evaluate", "do_train", "do_eval"),
    idle(
      "processes are started with mpirun", "local_rank", "ddp_find_unused_parameters", "ddp_bucket_cap_mb",
      "ddp_broadcast_buffers", "ddp_static_graph", "ddp_backend", "ddp_timeout", "save_on_each_node",
      "ignore_bias_buffers"),
    idle("code that comes with a model is never run", "trust_remote_code"),
    idle(
      "`push_to_hub` uploads the result once, at the end of the run", "hub_strategy", "hub_always_push"),
    idle("the token is that of `HF_TOKEN` or of `hf auth login`; recipes are published with results", "hub_token"),
    idle("name it in `hub_model_id`, as org/name", "push_to_hub_organization"),
    idle("nothing is reported to Trackio", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"),
    idle("an output folder is never emptied", "overwrite_output_dir"),
    idle("it is an option of Ray Tune or SageMaker", "ray_scope", "mp_parameters"),
    idle("set environment variables in the shell", "env"),
    // Options that `trl sft` passes to `accelerate launch`.
    idle(
      "processes are started with mpirun", "machine_rank", "main_process_ip", "main_process_port", "gpu_ids",
      "num_cpu_threads_per_process"),
    idle(
      "activations are float32, weights are float32 or as stored, and products accumulate in float32", "mixed_precision"
    ),
  ].flatMap(\.self)

  /// Keys of TRL, transformers and PEFT that are not supported.
  static let refusedKeys: [RecipeKey] = [
    [
      .refused("load_in_8bit", .quantization, "use load_in_4bit, or leave the weights as they are"),
      .refused("llm_int8_threshold", .quantization, harmless: ["6.0", "6"], "it is an option of 8-bit loading"),
      .refused("llm_int8_enable_fp32_cpu_offload", .quantization, "it is an option of 8-bit loading"),
      .refused("llm_int8_has_fp16_weight", .quantization, "it is an option of 8-bit loading"),
      .refused(
        "lora_task_type", .lora, harmless: ["causal_lm", "tasktype.causal_lm"],
        "only causal language models are trained"),
      .refused("peft_type", .lora, harmless: ["lora"], "LoRA is the only supported kind of adapter"),
      .refused("bias", .lora, harmless: ["none"], "adapters do not train biases"),
      .refused("inference_mode", .lora, "a recipe always trains"),
      .refused("fan_in_fan_out", .lora, "no supported architecture stores transposed weights"),
      .refused("layer_replication", .lora, "layers cannot be repeated"),
      .refused("ensure_weight_tying", .lora, "lora_modules_to_save trains a tied embedding and head separately"),
    ],
    refused(
      .lora, "only LoRA, rsLoRA and DoRA are supported", "megatron_config", "loftq_config", "eva_config",
      "corda_config",
      "lora_ga_config", "velora_config", "alora_invocation_tokens", "use_qalora", "monteclora_config", "use_bdlora",
      "arrow_config", "kasa_config", "auto_mapping", "runtime_config", "peft_version"),
    [
      .refused("megatron_core", .lora, harmless: ["megatron.core"], "only LoRA, rsLoRA and DoRA are supported"),
      .refused("qalora_group_size", .lora, harmless: ["16"], "only LoRA, rsLoRA and DoRA are supported"),
      .refused("dataset_kwargs", .data, "use steps to prepare rows"),
      .refused("label_names", .data, "labels follow from the rows' columns"),
      .refused("model_init_kwargs", .model, "use the keys on this page, such as dtype"),
      .refused("activation_offloading", .optimization, "activations stay in memory; gradient_checkpointing saves more"),
      .refused("optim_target_modules", .optimization, "it is an option of GaLore"),
      .refused(
        "average_tokens_across_devices", .optimization, harmless: ["true"], "the loss is always a mean over all tokens"),
      .refused("include_for_metrics", .reports, "evaluation measures loss and perplexity"),
      .refused(
        "metric_for_best_model", .reports, harmless: ["loss", "eval_loss"],
        "the best model is the one with the lowest eval_loss"),
      .refused("greater_is_better", .reports, "the best model is the one with the lowest eval_loss"),
      .refused("enable_jit_checkpoint", .reports, "use save_steps"),
      .refused("ignore_data_skip", .reports, "a resumed run always continues with the next row"),
      .refused("restore_callback_states_from_checkpoint", .reports, "callbacks have no saved state"),
      .refused("save_safetensors", .reports, harmless: ["true"], "weights are always saved as safetensors"),
      .refused("adafactor", .optimization, "use optim"),
      .refused("group_by_length", .optimization, "batches have no padding, so grouping rows by length gains nothing"),
      .refused("past_index", .other, harmless: ["-1"], "models with such outputs are not supported"),
      .refused(
        "num_processes", .other, harmless: ["1"],
        "start the processes with mpirun -n N, or multiply gradient_accumulation_steps by it instead"),
      .refused("num_machines", .other, harmless: ["1"], "processes are started with mpirun; leave it out"),
      .refused(
        "accelerate_config", .other, harmless: ["single_gpu"], "processes are started with mpirun; leave it out"),
      .refused("config_file", .other, "processes are started with mpirun; leave it out"),
      .refused("fsdp_min_num_params", .other, harmless: ["0"], "processes are started with mpirun; leave it out"),
      .refused("fsdp_transformer_layer_cls_to_wrap", .other, "processes are started with mpirun; leave it out"),
      .refused("do_predict", .other, "use swiftlet eval or generate"),
      .refused("debug", .other, "there is no debugger"),
      .refused("accelerator_config", .other, "use the keys on this page"),
    ],
    refused(
      .other, "Swiftlet does not use PyTorch", "torch_compile", "torch_compile_backend", "torch_compile_mode",
      "torchdynamo"),
    refused(
      .other, "processes are started with mpirun; leave it out", "fsdp", "fsdp_config", "deepspeed",
      "parallelism_config", "multi_gpu", "use_fsdp", "use_deepspeed"),
  ].flatMap(\.self)

  static func idle(_ meaning: String, _ names: String...) -> [RecipeKey] {
    names.map { .withoutEffect($0, .other, meaning) }
  }

  private static func refused(_ section: Section, _ meaning: String, _ names: String...) -> [RecipeKey] {
    names.map { .refused($0, section, meaning) }
  }
}
