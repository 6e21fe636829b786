package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// config is what --config FILE holds.
type config struct {
	State              string            `json:"state"`
	HTTPS              string            `json:"https"`
	SSH                string            `json:"ssh"`
	Control            string            `json:"control"`
	Hostname           string            `json:"hostname"`
	Address            string            `json:"address"`
	Edition            string            `json:"edition"`
	Version            string            `json:"version"`
	AccountsFile       string            `json:"accounts_file"`
	AuthorizedKeysFile string            `json:"authorized_keys_file"`
	Datastores         []datastoreConfig `json:"datastores"`
	CPUs               int               `json:"cpus"`
	MemoryGiB          int               `json:"memory_gib"`
	TaskMilliseconds   int               `json:"task_milliseconds"`
	Guest              *guestConfig      `json:"guest"`
}

type datastoreConfig struct {
	Name        string  `json:"name"`
	CapacityGiB float64 `json:"capacity_gib"`
}

// guestConfig is the driver that runs what the VMs hold; without one the guests live in this process.
type guestConfig struct {
	URL          string `json:"url"`
	User         string `json:"user"`
	PasswordFile string `json:"password_file"`
}

const (
	editionFree = "free"
	editionPaid = "paid"
)

func loadConfig(path string) (config, error) {
	cfg := config{
		HTTPS: "0.0.0.0:443", SSH: "0.0.0.0:22", Hostname: "esxi", Edition: editionFree, Version: "7.0.3",
		CPUs: 16, MemoryGiB: 128, TaskMilliseconds: 200,
		Datastores: []datastoreConfig{{Name: "datastore1", CapacityGiB: 3600}},
	}
	file, err := os.Open(path)
	if err != nil {
		return cfg, err
	}
	defer file.Close()
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&cfg); err != nil {
		return cfg, fmt.Errorf("%s: %w", path, err)
	}
	if cfg.State == "" || cfg.AccountsFile == "" || len(cfg.Datastores) == 0 {
		return cfg, fmt.Errorf("%s: state, accounts_file and datastores must be given", path)
	}
	if cfg.Edition != editionFree && cfg.Edition != editionPaid {
		return cfg, fmt.Errorf("%s: edition is %q, not free or paid", path, cfg.Edition)
	}
	cfg.State, err = filepath.Abs(cfg.State)
	return cfg, err
}

// accounts reads the users anew at every login, so that a changed password needs no restart.
func (c config) accounts() (map[string]string, error) {
	content, err := os.ReadFile(c.AccountsFile)
	if err != nil {
		return nil, err
	}
	accounts := map[string]string{}
	if err := json.Unmarshal(content, &accounts); err != nil {
		return nil, fmt.Errorf("%s does not hold {\"user\": \"password\"}", c.AccountsFile)
	}
	return accounts, nil
}

// validPassword tells whether the account exists with this password.
func (c config) validPassword(user, password string) bool {
	accounts, err := c.accounts()
	known, exists := accounts[user]
	return err == nil && exists && password != "" && known == password
}

func (c config) taskTime() time.Duration { return time.Duration(c.TaskMilliseconds) * time.Millisecond }

func (c config) volumes() string { return filepath.Join(c.State, "vmfs", "volumes") }

func (g guestConfig) password() (string, error) {
	content, err := os.ReadFile(g.PasswordFile)
	return strings.TrimSpace(string(content)), err
}
