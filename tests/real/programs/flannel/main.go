// flannel stands in for flannel's CNI plugin, which is not to be had as a module: it lets the bridge plugin do the work
// in the subnet that flanneld (the real one) wrote down.
package main

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	if os.Getenv("CNI_COMMAND") == "VERSION" {
		fmt.Println(`{"cniVersion":"1.0.0","supportedVersions":["0.3.1","0.4.0","1.0.0"]}`)
		return
	}
	if err := delegate(); err != nil {
		said, _ := json.Marshal(map[string]any{"cniVersion": "1.0.0", "code": 100, "msg": err.Error()})
		fmt.Println(string(said))
		os.Exit(1)
	}
}

func delegate() error {
	var given struct {
		CNIVersion string         `json:"cniVersion"`
		Name       string         `json:"name"`
		SubnetFile string         `json:"subnetFile"`
		IPAM       map[string]any `json:"ipam"`
		Delegate   map[string]any `json:"delegate"`
	}
	given.SubnetFile, given.IPAM = "/run/flannel/subnet.env", map[string]any{"type": "host-local"}
	if err := json.NewDecoder(os.Stdin).Decode(&given); err != nil {
		return err
	}
	text, err := os.ReadFile(given.SubnetFile)
	if err != nil {
		return err
	}
	known := map[string]string{}
	for _, line := range strings.Split(string(text), "\n") {
		if name, value, found := strings.Cut(line, "="); found {
			known[name] = value
		}
	}
	subnet, err := netip.ParsePrefix(known["FLANNEL_SUBNET"]) // the gateway's address in it
	if err != nil {
		return err
	}
	given.IPAM["ranges"] = [][]map[string]string{{{"subnet": subnet.Masked().String()}}}
	given.IPAM["routes"] = []map[string]string{{"dst": known["FLANNEL_NETWORK"]}}
	config := map[string]any{
		"cniVersion": given.CNIVersion, "name": given.Name, "type": "bridge", "bridge": "cni0", "isGateway": true,
		"ipMasq": known["FLANNEL_IPMASQ"] != "true",
		"ipam":   given.IPAM,
	}
	if mtu, err := strconv.Atoi(known["FLANNEL_MTU"]); err == nil {
		config["mtu"] = mtu
	}
	for name, value := range given.Delegate {
		config[name] = value
	}
	return bridge(config)
}

func bridge(config map[string]any) error {
	said, err := json.Marshal(config)
	if err != nil {
		return err
	}
	for _, place := range filepath.SplitList(os.Getenv("CNI_PATH")) {
		program := filepath.Join(place, "bridge")
		if _, err := os.Stat(program); err != nil {
			continue
		}
		command := exec.Command(program)
		command.Stdin, command.Stdout, command.Stderr = strings.NewReader(string(said)), os.Stdout, os.Stderr
		if command.Run() != nil {
			os.Exit(1) // the bridge plugin has said why
		}
		return nil
	}
	return fmt.Errorf("no bridge plugin in %s", os.Getenv("CNI_PATH"))
}
